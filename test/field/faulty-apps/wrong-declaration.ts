/** Wrong on purpose: what is declared is not what the bare application does. */
import { application } from '../harness.js';
import { catsController } from '../support/cats.js';

export default application({
  name: 'declaration',
  build: (field) => ({ controllers: [catsController(field)] }),
  exchanges: [{ name: 'create', request: { path: '/cats' }, status: 200, effects: 2, concurrent: false }],
});
