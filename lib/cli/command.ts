import type { DataSource } from 'typeorm';
import type { IdempotencyService } from '../service/idempotency.service.js';
import type { ServiceSettings } from './database/connection.js';
import type { ExitCode } from './exit-codes.js';
import type { Terminal } from './output/terminal.js';

export interface Option {
  readonly type: 'string' | 'boolean';
  /** Placeholder of the value in the help, such as `<n>`. */
  readonly value?: string;
  readonly description: string;
}

export type Options = Readonly<Record<string, Option>>;

export interface Command {
  readonly name: string;
  /** What follows the name in the help, such as `<recordId>`. */
  readonly operands: string;
  readonly summary: string;
  readonly options: Options;
  /** What its exit codes mean, where it has its own. */
  readonly exitCodes?: string;
  /** How many operands it takes. */
  readonly arity: readonly [least: number, most: number];
  run(invocation: Invocation): Promise<ExitCode>;
}

/** One call of a command. */
export interface Invocation {
  readonly operands: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly terminal: Terminal;
  readonly json: boolean;
  readonly text: (option: string) => string | undefined;
  readonly flag: (option: string) => boolean;
  /** Whether a database is named, by an option or in the environment. */
  readonly hasDatabase: boolean;
  /** The database of this call, connected when first asked for. */
  readonly dataSource: (create?: boolean) => Promise<DataSource>;
  /** The same, not connected. */
  readonly unconnected: () => DataSource;
  readonly service: (settings?: Partial<ServiceSettings>) => Promise<IdempotencyService>;
}
