import { handOver } from '../../decorators/hand-over.js';
import type { Route } from '../../routes.js';
import { isMessageHandler } from '../rpc/message.js';

/** The handlers that are told their execution by an argument. */
export class HandedOver {
  private readonly handlers = new Map<object, Set<object>>();

  /** @param routes before Nest registers them */
  constructor(routes: readonly Pick<Route, 'kind' | 'controller' | 'handler' | 'method'>[]) {
    for (const { kind, controller, handler, method } of routes) {
      // Those of messages are given what comes of having no parameters declared.
      if (kind !== 'http' || isMessageHandler(handler) || !handOver(controller, method)) continue;
      const ofController = this.handlers.get(controller) ?? new Set();
      this.handlers.set(controller, ofController.add(handler));
    }
  }

  has(controller: object, handler: object): boolean {
    return this.handlers.get(controller)?.has(handler) === true;
  }
}
