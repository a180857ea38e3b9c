/** For TypeORM's command line: `npm run migrate`, `npm run migrate:revert`. */
import { DataSource } from 'typeorm';
import { databaseOptions } from './database.js';

export default new DataSource(databaseOptions);
