import { type Execution, executionContext } from './execution.js';
import type { HandlerCalls } from './handler-calls.js';
import { isObservable } from './observables.js';
import { LeaseLostError } from './steps.js';

/** Follows a stream that a handler returns, where its edge can answer with more than one value. */
export type FollowStream = (stream: unknown, current: CurrentExecution) => unknown;

/** The execution that code runs in: a pass through Nest's pipeline, or a single call of the handler within that pass. */
export class CurrentExecution {
  /** The pass that a call belongs to; a pass itself where this is one. */
  readonly pass: CurrentExecution;
  /** Whether this call returned an Observable. What interceptors do with its values runs in the context of the call. */
  private isStream = false;

  private constructor(
    readonly execution: Execution,
    /** The method that the request is for, whose calls are watched. */
    private readonly handler: unknown,
    readonly follow: FollowStream | undefined,
    /** The execution whose handler started this one. */
    readonly outer: CurrentExecution | undefined,
    pass?: CurrentExecution,
  ) {
    this.pass = pass ?? this;
  }

  /** Creates the first pass of an execution. */
  static of(execution: Execution, handler?: unknown, follow?: FollowStream): CurrentExecution {
    return new CurrentExecution(execution, handler, follow, current());
  }

  get calls(): HandlerCalls {
    return this.execution.calls;
  }

  /** Whether this is a single call of the handler, and not a pass. */
  get isCall(): boolean {
    return this.pass !== this;
  }

  /** Returns the same execution for another pass, so that what is left of an earlier pass can be distinguished. */
  forAnotherPass(): CurrentExecution {
    return new CurrentExecution(this.execution, this.handler, this.follow, this.outer);
  }

  /**
   * Calls the handler and records how it ends. Each call has its own context, which distinguishes its steps from those of an earlier
   * call.
   *
   * @param read maps the value that the handler returns, or that its promise resolves to
   * @throws TooLateError where the execution has ended
   * @throws LeaseLostError where another execution owns the record
   */
  call<T>(handler: () => T, read?: (value: unknown, call: CurrentExecution) => unknown): T {
    const { execution } = this;
    if (execution.isLost) throw new LeaseLostError();
    const call = new CurrentExecution(execution, this.handler, this.follow, this.outer, this);
    const begin = () => {
      execution.beginCall(call);
      return runWithin(call, handler);
    };
    const readOf = (value: unknown) => {
      call.isStream = isObservable(value);
      return read!(value, call);
    };
    return this.calls.run(begin, read && readOf);
  }

  /**
   * Whether this is work of a call of the handler, and not an interceptor that calls the handler again. A handler that calls its own
   * method must not count as called again. Neither must what it has left running, as a poll: the transaction would begin again without
   * what the handler has written, and once the execution has ended, the call would be refused.
   */
  get isOwnWork(): boolean {
    if (!this.isCall) return false;
    return !this.isStream || (this.calls.state === 'running' && this.execution.lastCall === this);
  }

  /** Returns whether `method` is the handler, and not another method that it calls. */
  isHandler(method: unknown): boolean {
    return this.handler === method;
  }
}

/** Runs `work` in an execution; `undefined`: in none. */
export function runWithin<T, Args extends unknown[]>(
  execution: CurrentExecution | undefined,
  work: (...args: Args) => T,
  ...args: Args
): T {
  return executionContext.run(execution, work, ...args);
}

export function current(): CurrentExecution | undefined {
  return executionContext.getStore() as CurrentExecution | undefined;
}
