import type { ServerResponse } from 'node:http';
import { replaceImplicitHeader } from '../../private-names/node.js';
import { type GateKeeper, gateOf } from './response-gate.js';

/** Called on the response: what is left of methods that would still write to it. */
function nothing(this: unknown): void {}

/**
 * Makes everything that would still write to a response a no-op.
 *
 * @param onEnd called when something would end it
 */
export function mute(response: ServerResponse, onEnd?: () => void): void {
  const gate = gateOf(response);
  const keeper: GateKeeper = onEnd ? { ...silence, end: (args) => (callBack(args), onEnd()) } : silence;
  gate.keeper = keeper;
  response.addTrailers = nothing;
  response.writeContinue = nothing;
  response.writeProcessing = nothing;
  response.writeEarlyHints = nothing;
  const { statusCode } = response;
  // Middleware may still have to send what it was given, as sessions do once they are saved.
  replaceImplicitHeader(response, () => {
    gate.keeper = undefined;
    response.writeHead(statusCode);
    gate.keeper = keeper;
  });
}

const silence: GateKeeper = {
  writeHead: nothing,
  flushHeaders: nothing,
  write(args) {
    callBack(args);
    return true;
  },
  end: callBack,
  mayChangeHeaders: () => false,
};

function callBack(args: readonly unknown[]): void {
  const callback = args.find((arg) => typeof arg === 'function') as (() => void) | undefined;
  if (callback) queueMicrotask(callback);
}
