import { createParamDecorator } from '@nestjs/common';
import { runOf } from '../edges/http/request-run.js';
import { NO_TICKET } from './ticket.js';

/** Nest's metadata key for what the parameters of a handler are made of. */
const PARAMETERS = '__routeArguments__';

const ticketOf = (_: unknown, context: Parameters<typeof runOf>[0]) => runOf(context)?.ticket ?? NO_TICKET;
const Ticket = createParamDecorator(ticketOf);

interface Parameter {
  readonly index: number;
  readonly factory?: unknown;
}

/**
 * Adds a parameter behind those of an HTTP handler, by which it is told its execution: without AsyncLocalStorage, which
 * costs a process of Node before 24 a sixth of its time. Whoever {@link watchHandler} watches takes it off again.
 *
 * To be called before Nest registers the route. Whether the handler is told; not where Nest would not find the parameter.
 */
export function handOver(controller: object, method: string): boolean {
  const { prototype } = controller as { prototype?: object };
  if (prototype?.constructor !== controller) return false;
  const parameters = parametersOf(controller, method);
  if (parameters.some(({ factory }) => factory === ticketOf)) return true;
  Ticket()(prototype, method, 1 + Math.max(-1, ...parameters.map(({ index }) => index)));
  return parametersOf(controller, method).some(({ factory }) => factory === ticketOf);
}

function parametersOf(controller: object, method: string): Parameter[] {
  return Object.values((Reflect.getMetadata(PARAMETERS, controller, method) ?? {}) as Record<string, Parameter>);
}
