/** The body of every request of the lab. */
export interface Order {
  readonly op: string;
  /** How long the handler takes, in milliseconds. */
  readonly work: number;
  /** In which of its attempts what its workload is about goes wrong. */
  readonly trouble: 'never' | 'first' | 'always';
  /** Whether the handler still has to write when it has caught an error. */
  readonly goesOn: boolean;
  /** Which call of the handler for one request this is, from 1, where an interceptor tries again. */
  readonly call?: number;
}

/** What the runner orders an application to do. */
export type Command =
  /** End by SIGKILL at this point, the next time an execution comes to it. */
  | { readonly do: 'crash'; readonly at: string }
  | { readonly do: 'lose request' | 'lose answer'; readonly of: string }
  | { readonly do: 'delay'; readonly at: string; readonly ms: number }
  | { readonly do: 'shift clock'; readonly ms: number }
  | { readonly do: 'exhaust pool'; readonly ms: number }
  | { readonly do: 'disarm' }
  /** Write the history of another run, in this folder. Answered. */
  | { readonly do: 'move to'; readonly folder: string }
  /** Collect garbage, and answer with what is left. */
  | { readonly do: 'measure' };

/** What a process holds after its garbage was collected, in bytes. */
export interface MemoryReading {
  /** Of JavaScript: the heap and what hangs on it outside. */
  readonly heap: number;
  readonly rss: number;
}

/** How an application is set up, as JSON in its environment. */
export interface Setup {
  readonly name: string;
  readonly port: number;
  readonly platform: 'express' | 'fastify';
  readonly folder: string;
  readonly database: object;
  readonly redisPorts: readonly number[];
  readonly providerUrl: string;
  /** By how many milliseconds its clock is off. */
  readonly clockOffset: number;
  readonly options: object;
  readonly broken?: string;
}
