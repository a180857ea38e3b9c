import type { Execution } from './execution.js';
import { currentContext, runInContext } from './execution-context.js';
import type { HandlerCalls } from './handler-calls.js';
import { LeaseLostError } from './steps.js';

/** What becomes of a stream that a handler returns, where its edge can answer with more than a value. */
export type FollowStream = (stream: unknown, current: CurrentExecution) => unknown;

/** The execution that code runs in: a pass through the pipeline, or a single call of the handler within it. */
export class CurrentExecution {
  /** The pass which a call of the handler is made in; of a pass, itself. */
  readonly pass: CurrentExecution;

  private constructor(
    readonly execution: Execution,
    /** The method that the request is for, whose calls are watched. */
    private readonly handler: unknown,
    readonly follow: FollowStream | undefined,
    /** The execution in whose handler this one was begun. */
    readonly outer: CurrentExecution | undefined,
    pass?: CurrentExecution,
  ) {
    this.pass = pass ?? this;
  }

  /** The first pass of an execution. */
  static of(execution: Execution, handler?: unknown, follow?: FollowStream): CurrentExecution {
    return new CurrentExecution(execution, handler, follow, current());
  }

  get calls(): HandlerCalls {
    return this.execution.calls;
  }

  /** Whether it is that of a single call of the handler, and of what that returned for others to do. */
  get isCall(): boolean {
    return this.pass !== this;
  }

  /** Returns the same execution for another pass through the pipeline, to distinguish it from the rest of an earlier pass. */
  again(): CurrentExecution {
    return new CurrentExecution(this.execution, this.handler, this.follow, this.outer);
  }

  /**
   * Calls the handler, and notes how it ends. Each call runs in a context of its own, which distinguishes its steps from those of the
   * call before.
   *
   * @param read what is made of the value that it returns, or that its promise comes to
   * @throws TooLateError where the execution has ended
   * @throws LeaseLostError where another execution has the record
   */
  call<T>(handler: () => T, read?: (value: unknown, call: CurrentExecution) => unknown): T {
    const { execution } = this;
    if (execution.isLost) throw new LeaseLostError();
    const call = new CurrentExecution(execution, this.handler, this.follow, this.outer, this);
    const begin = () => {
      execution.beginCall(call);
      return runInContext(call, handler);
    };
    return this.calls.run(begin, read && ((value) => read(value, call)));
  }

  /** Whether it is that of the call which runs: a handler that calls itself is not called again. */
  get isRunningCall(): boolean {
    return this.isCall && this.calls.state === 'running' && this.execution.isLastCall(this);
  }

  /** Whether `method` is the handler, and not another one that it calls. */
  isOf(method: unknown): boolean {
    return this.handler === method;
  }
}

/** Runs `work` in an execution; `undefined`: in none. */
export const runWithin: <T, Args extends unknown[]>(
  current: CurrentExecution | undefined,
  work: (...args: Args) => T,
  ...args: Args
) => T = runInContext;

export function current(): CurrentExecution | undefined {
  return currentContext() as CurrentExecution | undefined;
}
