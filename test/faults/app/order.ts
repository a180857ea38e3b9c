/** The body of every request of the lab. */
export interface Order {
  readonly op: string;
  /** How long the handler takes, in milliseconds. */
  readonly work: number;
  /** In which of its attempts what its workload is about goes wrong. */
  readonly trouble: 'never' | 'first' | 'always';
  /** Whether the handler still has to write when it has caught an error. */
  readonly goesOn: boolean;
}

/** What the runner tells an application to do. */
export type Command =
  /** End by SIGKILL at this point, the next time an execution comes to it. */
  | { readonly do: 'crash'; readonly at: string }
  | { readonly do: 'lose request' | 'lose answer'; readonly of: string }
  | { readonly do: 'delay'; readonly at: string; readonly ms: number }
  | { readonly do: 'shift clock'; readonly ms: number }
  | { readonly do: 'exhaust pool'; readonly ms: number }
  | { readonly do: 'disarm' };

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
