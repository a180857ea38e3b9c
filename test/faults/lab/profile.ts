/** How often things go wrong, and for how long. */
export interface Pace {
  /** Between two faults, in milliseconds. */
  readonly pauseMs: readonly [number, number];
  /** How long outages last, as a part of their longest duration. */
  readonly outages: number;
  /** How often faults of some kinds come, where it is not as usual. */
  readonly weights: Readonly<Record<string, number>>;
}

/** What a run consists of. */
export interface Profile {
  readonly name: 'rich' | 'lean';
  /** The platforms of the processes, and by how many milliseconds their clocks are off from the beginning. */
  readonly processes: readonly { readonly platform: 'express' | 'fastify'; readonly clockOffset: number }[];
  readonly redisNodes: number;
  readonly leaseMs: number;
  readonly storeTimeoutMs: number;
  /** How long a process may take to say anything, for a handler of no length: lock, claim, completion and look-ups, with their tries. */
  readonly answerWithinMs: number;
  /** The largest number of operations that are requested at a time. */
  readonly workers: number;
  /** Of clients, from 0 to 1. */
  readonly clients: {
    /** How often a request comes more than once at the same time. */
    readonly doubles: number;
    /** How many requests an operation that is waited for gets at the same time. */
    readonly waiters: readonly [number, number];
    /** How often a client gives up before it has its answer, and asks again. */
    readonly givesUp: number;
    /** How often it never comes back. */
    readonly abandons: number;
    /** How often it uses a key for another request. */
    readonly misuses: number;
    /** How often it asks once more some time later. */
    readonly asksLater: number;
    /** How many operations are asked for again in the end. */
    readonly asksAgain: number;
    /** How long a client waits before it asks another process as well, in milliseconds; longer each time. */
    readonly hedgeAfterMs: number;
    /** Whether they spare the application: ask for less at a time while it is slow, and pass over a process that said nothing. */
    readonly considerate: boolean;
  };
  readonly pace: Pace;
  /** Whether one process is never ended, so that its memory can be watched. */
  readonly sparesOne: boolean;
}

export const PROFILES: Readonly<Record<'rich' | 'lean', Profile>> = {
  /** Every kind of operation, each of them troubled, with clients that retry a lot. */
  rich: {
    name: 'rich',
    processes: [
      { platform: 'express', clockOffset: 0 },
      { platform: 'express', clockOffset: 4_000 },
      { platform: 'fastify', clockOffset: -3_600_000 },
    ],
    redisNodes: 5,
    leaseMs: 1_500,
    storeTimeoutMs: 600,
    answerWithinMs: 7_000,
    workers: 16,
    clients: {
      doubles: 0.4,
      waiters: [2, 4],
      givesUp: 0.03,
      abandons: 0.05,
      misuses: 0.1,
      asksLater: 0.3,
      asksAgain: 1,
      hedgeAfterMs: 500,
      considerate: false,
    },
    pace: { pauseMs: [50, 700], outages: 1, weights: {} },
    sparesOne: false,
  },
  /** As many operations as the machine can do, under as many faults. */
  lean: {
    name: 'lean',
    processes: [
      { platform: 'fastify', clockOffset: 0 },
      { platform: 'express', clockOffset: -3_600_000 },
    ],
    redisNodes: 1,
    leaseMs: 3_000,
    storeTimeoutMs: 1_500,
    answerWithinMs: 12_000,
    workers: 64,
    clients: {
      doubles: 0.05,
      waiters: [2, 2],
      givesUp: 0.005,
      abandons: 0.01,
      misuses: 0.01,
      asksLater: 0.02,
      asksAgain: 0.03,
      hedgeAfterMs: 1_000,
      considerate: true,
    },
    pace: {
      pauseMs: [100, 1_500],
      outages: 0.25,
      // A process that begins, and a database that recovers, take seconds.
      weights: { 'kill -9': 1, 'crash at a point': 3, pause: 2, 'database stopped': 0.5, 'backend killed': 0.5 },
    },
    sparesOne: true,
  },
};
