import { type Config, environment, readEnvironment } from './environment.js';

/** Read once. A service that is not set up does not start. */
export const config: Config = readEnvironment(environment, process.env);
