import type { DataSource } from 'typeorm';
import type { IdempotencyService } from '../service/idempotency.service.js';
import type { ServiceSettings } from './database/connection.js';
import type { ExitCode } from './exit-codes.js';
import type { Terminal } from './output/terminal.js';

/** Descriptions by usage: `limit <n>` takes a value, `held` takes none. */
export type Options = Readonly<Record<string, string>>;

export interface Command {
  readonly name: string;
  /** At most one: empty, required as in `print|run`, or optional as in `[<recordId>]`. */
  readonly operand: string;
  readonly summary: string;
  readonly options: Options;
  /** Default: the exit codes that most commands have. */
  readonly exitCodes?: string;
  run(invocation: Invocation): Promise<ExitCode>;
}

/** One call of a command. */
export interface Invocation {
  readonly operand: string | undefined;
  readonly env: NodeJS.ProcessEnv;
  readonly terminal: Terminal;
  readonly json: boolean;
  readonly text: (option: string) => string | undefined;
  readonly flag: (option: string) => boolean;
  /** Prints `value` with `--json`, and otherwise `text`, if there is one. */
  readonly result: (value: unknown, text: string) => void;
  /** Whether an option or the environment names a database. */
  readonly hasDatabase: boolean;
  /** Connects at the first call. `create`: makes an SQLite file that does not exist. */
  readonly dataSource: (create?: boolean) => Promise<DataSource>;
  /** For its dialect: a data source that is never connected. */
  readonly unconnected: () => DataSource;
  readonly service: (settings?: Partial<ServiceSettings>) => Promise<IdempotencyService>;
}
