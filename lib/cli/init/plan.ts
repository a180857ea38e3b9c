import type { FileChange, ProjectFiles } from './files.js';
import type { ModuleGraph } from './module-graph.js';
import type { Project } from './project.js';

/** Databases that `--database` sets up: the `type` of TypeORM, and the package of the driver. */
export const DATABASES = {
  sqlite: { type: 'better-sqlite3', driver: 'better-sqlite3@12' },
  postgres: { type: 'postgres', driver: 'pg@8' },
  mysql: { type: 'mysql', driver: 'mysql2@3' },
  mariadb: { type: 'mariadb', driver: 'mysql2@3' },
} as const;

export type DatabaseName = keyof typeof DATABASES;

export interface InitOptions {
  readonly redis: boolean;
  readonly database?: DatabaseName;
}

/** Lines for the user to add, because `init` is not certain where they belong. */
interface ManualStep {
  readonly where: string;
  readonly lines: string;
}

export interface Plan {
  /** What `init` recognized in the project. */
  readonly found: readonly string[];
  readonly changes: readonly FileChange[];
  readonly manual: readonly ManualStep[];
  /** Advice that is no line of code. */
  readonly notes: readonly string[];
  /** The command that installs what is missing. */
  readonly install?: string;
}

/** A plan in the making: what its steps read, and what they add to. */
export interface Draft {
  readonly files: ProjectFiles;
  readonly project: Project;
  readonly graph: ModuleGraph;
  readonly options: InitOptions;
  readonly found: string[];
  readonly manual: ManualStep[];
  readonly notes: string[];
  /** Packages that have to be installed, such as `pg@8`. */
  readonly packages: Set<string>;
  /** Lists that were added to: two data sources may share one, and would get the migrations twice. */
  readonly placed: Set<unknown>;
}
