export { REQUIREMENTS } from '../patroni/requirements.mjs';
