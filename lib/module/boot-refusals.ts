import { eventEndpointsOf } from '../edges/rpc/message.js';
import { isIdempotent, isMarkedIdempotent, markingOf } from '../handlers/marking.js';
import {
  type CoveredRoute,
  IS_COVERED_BY_CLASS,
  isCovered,
  labelOf,
  type Route,
  type Routes,
} from '../handlers/routes.js';

/**
 * Fails the boot, under any `audit`, where `@Idempotent()` cannot work or where two handlers would share records.
 *
 * @param all the routes of the application
 * @throws Error naming the handler, and what to do
 */
export function refuseMistakes(routes: Routes, all: readonly Route[]): void {
  refuseUnreachable(routes);
  const covered = all.filter(isCovered);
  refuseEqualEvents(covered);
  covered.forEach(refuseQueryPointers);
  refuseEqualNames(covered);
  all.forEach(refuseUnfit);
}

/** Refuses the decorator where nothing calls the method through Nest's pipeline, or where another decorator has taken it away. */
function refuseUnreachable(routes: Routes): void {
  const unreachable = routes.unreachable();
  if (unreachable.length > 0) {
    throw new Error(
      `@Idempotent() on ${unreachable.join(', ')}: it covers handlers of controllers and mutations of resolvers alone. Put ` +
        'it there, or call IdempotencyService.run()',
    );
  }
  const lost = routes.lost();
  if (lost.length > 0) {
    throw new Error(
      `@Idempotent() on ${lost.join(', ')}: a decorator above it has replaced the method, and with it what @Idempotent() has put there. ` +
        'Write @Idempotent() above that decorator',
    );
  }
  const inVain = routes.wiredInVain();
  if (inVain.length > 0) {
    throw new Error(
      `IdempotencyInterceptor on ${inVain.join(', ')}: wired by hand, it covers HTTP routes and mutations alone. Put ` +
        '@Idempotent() on message handlers, and call IdempotencyService.run() in gateways and in handlers of other packages',
    );
  }
}

/** Refuses the decorator on a method that cannot have it. One on the class does not cover such methods. */
function refuseUnfit(route: Route): void {
  const { handler, unfit } = route;
  if (unfit === undefined || !isMarkedIdempotent(handler)) return;
  throw new Error(`@Idempotent() on ${labelOf(route)}: ${unfit}`);
}

/**
 * Refuses two event handlers of one name. Each handler of a pattern gets every event: with one name, they would share a record, and the
 * second would not run.
 */
function refuseEqualEvents(covered: readonly Route[]): void {
  const known = new Set<string>();
  for (const { kind, controller, handler, operation } of covered) {
    if (kind !== 'event' || operation !== undefined) continue;
    for (const endpoint of eventEndpointsOf(controller, handler)) {
      if (known.has(endpoint)) {
        throw new Error(
          `@Idempotent() on two handlers that are both ${endpoint}: they would share their records, and only one would run ` +
            'for each event. Rename the class or the method of one; where a minifier has renamed them, have it keep names',
        );
      }
      known.add(endpoint);
    }
  }
}

/**
 * Refuses pointers to a query on a message handler or mutation, which has none. Those of its class or module may be meant for other
 * handlers.
 */
function refuseQueryPointers({ kind, controller, handler, name }: CoveredRoute): void {
  if (kind === 'http') return;
  const marking = markingOf(IS_COVERED_BY_CLASS[kind] ? controller : {}, handler);
  if (!isIdempotent(marking)) return;
  const { request, fingerprint } = marking;
  const { ignore, only } = typeof fingerprint === 'object' ? fingerprint : {};
  for (const [option, pointers = []] of Object.entries({
    'request.redact': request?.redact,
    'fingerprint.ignore': ignore,
    'fingerprint.only': only,
  })) {
    const ofQuery = pointers.find((pointer) => pointer.startsWith('?'));
    if (ofQuery === undefined) continue;
    throw new Error(
      `@Idempotent() on ${name}: option \`${option}\` has '${ofQuery}', and only HTTP requests have a query. Point into the ` +
        "payload of a message, or the arguments of a mutation, as in '/token'",
    );
  }
}

/** Refuses two handlers with one name, unless both are `shared`: each would replay the other's outcomes. */
function refuseEqualNames(covered: readonly Route[]): void {
  const known = new Map<string, Route>();
  for (const route of covered) {
    if (route.operation === undefined) continue;
    const other = known.get(route.operation);
    if (!other) {
      known.set(route.operation, route);
      continue;
    }
    const both = `@Idempotent({ operation: ${JSON.stringify(route.operation)} }) on ${other.name} and ${route.name}`;
    const isOne = other.controller === route.controller && other.handler === route.handler;
    if (!isOne && !(isShared(other) && isShared(route))) {
      throw new Error(
        `${both}: they would share their records, and answer with each other's outcomes. Give each a name of its own; ` +
          'where they are one operation, add `shared: true` to both',
      );
    }
    if ((other.kind === 'http') === (route.kind === 'http')) continue;
    throw new Error(
      `${both}: one answers over HTTP (${[other, route].find(({ kind }) => kind === 'http')!.name}), the other with ` +
        'values, and neither can send what the other has recorded. Give each a name of its own',
    );
  }
}

function isShared({ marking }: Route): boolean {
  return isIdempotent(marking) && marking.shared === true;
}
