import type { NodePgDatabase } from 'drizzle-orm/node-postgres';

/** The token, and the type, of Drizzle's database in this application. */
export abstract class Database {}
export interface Database extends NodePgDatabase {}
