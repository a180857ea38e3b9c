import { AsyncLocalStorage } from 'node:async_hooks';
import type { Execution } from './execution.js';
import { type CallRunner, HandlerCalls } from './handler-calls.js';
import { LeaseLostError } from './steps.js';

/** The execution that code runs in, and the calls of its handler. */
export class CurrentExecution {
  readonly calls: HandlerCalls;
  /** The execution in whose handler this one was begun. */
  readonly outer: CurrentExecution | undefined;
  /** That of the pass through the pipeline which a call of the handler is made in. */
  readonly pass: CurrentExecution = this;
  /** Whether it is that of a single call of the handler, and of what that returned for others to do. */
  readonly isCall: boolean = false;

  /**
   * @param handler the method that the request is for, whose calls are watched
   * @param follow what becomes of a stream that the handler returns, where the edge can answer with more than a value
   * @param of the same execution, in an earlier pass or call
   */
  constructor(
    readonly execution: Execution,
    private readonly handler?: unknown,
    readonly follow?: (stream: unknown, current: CurrentExecution) => unknown,
    beginAgain?: () => Promise<CallRunner>,
    of?: CurrentExecution,
  ) {
    this.outer = of ? of.outer : current();
    const within =
      (run: CallRunner): CallRunner =>
      (work) =>
        run(() => runWithin(this, work));
    this.calls = of?.calls ?? new HandlerCalls(beginAgain && (() => beginAgain().then(within)));
  }

  /** The same execution, for a further pass through the pipeline, by which that is told from what is left of an earlier one. */
  again(): CurrentExecution {
    return new CurrentExecution(this.execution, this.handler, this.follow, undefined, this);
  }

  /**
   * Calls the handler, and notes how it ends. Each call runs in a context of its own, by which its steps are told from those of
   * the call before.
   *
   * @throws TooLateError where the execution has ended
   * @throws LeaseLostError where another execution has the record
   */
  call<T>(handler: (call: CurrentExecution) => T): T {
    const { execution } = this;
    if (execution.isLost) throw new LeaseLostError();
    return this.calls.run(() => {
      const call = Object.create(this, { isCall: { value: true } }) as CurrentExecution;
      execution.beginCall(call);
      return runWithin(call, () => handler(call));
    });
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

const storage = new AsyncLocalStorage<CurrentExecution | undefined>();

export function runWithin<T>(current: CurrentExecution | undefined, work: () => T): T {
  return storage.run(current, work);
}

export function current(): CurrentExecution | undefined {
  return storage.getStore();
}

/** The call of the handler of `execution` that the caller is part of, if it is known. */
export function callOf(execution: unknown): CurrentExecution | undefined {
  let at = current();
  while (at && at.execution !== execution) at = at.outer;
  return at?.isCall ? at : undefined;
}
