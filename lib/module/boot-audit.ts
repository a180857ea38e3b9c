import { Logger } from '@nestjs/common';
import { isMarkedItself, markingOf } from '../handlers/marking.js';
import { eventEndpointsOf } from '../edges/rpc/message.js';
import type { OperationOptions } from '../handlers/operation-options.js';
import { isCovered, type Route, type Routes } from '../handlers/routes.js';

/** A process may stand still so long in service: garbage collection, a burst of other work, a machine that is moved. */
const BRIEF = 1_000;

/**
 * Looks at every handler when the application boots. `@Idempotent()` where it cannot work, where nothing would pass through
 * it, or where two handlers would share their records fails the boot. Mutating routes and GraphQL mutations without
 * a decision are logged, and so is `@Idempotent()` where it has no effect, or a lease that a short pause ends.
 */
export class BootAudit {
  constructor(
    private readonly routes: Routes,
    private readonly operations: OperationOptions,
    private readonly mode: 'off' | 'warn' | 'error',
    private readonly logger: Pick<Logger, 'warn'> = new Logger('Idempotency'),
  ) {}

  run(): void {
    const unreached = this.routes.unreached();
    if (unreached.length > 0) {
      throw new Error(
        `@Idempotent() on ${unreached.join(', ')}: it covers handlers of controllers and mutations of resolvers alone. Put ` +
          'it there, or call IdempotencyService.run()',
      );
    }
    const routes = this.routes.all();
    const covered = routes.filter(isCovered);
    checkEvents(covered);
    covered.forEach(checkPointers);
    checkNames(covered);
    const undecided = routes.filter((route) => !this.check(route));
    const safe = routes.filter(
      ({ isSafe, handler, marking }) => isSafe && isMarkedItself(handler) && marking !== 'exempt',
    );
    this.tell(safe, 'GET, HEAD and OPTIONS change nothing and are never touched: remove @Idempotent() from');
    this.tell(undecided, 'Mutating routes with neither @Idempotent() nor @NotIdempotent():');
    const brief = covered.filter(
      ({ controller, handler }) => this.operations.of(controller, handler)!.policy.leaseMs < BRIEF,
    );
    this.tell(brief, 'A lease below a second (numbers are milliseconds) is lost in any pause of that length:');
    this.warnOfOptionalTransactions(covered);
    this.warnOfPassedOver();
  }

  private tell(routes: readonly Route[], what: string): void {
    if (this.mode === 'off' || routes.length === 0) return;
    const message = `${what} ${routes.map(labelOf).join(', ')}`;
    if (this.mode === 'error') throw new Error(`IdempotencyModule: ${message}`);
    this.logger.warn(message);
  }

  /** A legitimate choice, so that it never fails the boot; but a handler that uses `execution.manager` fails without a key. */
  private warnOfOptionalTransactions(covered: readonly Route[]): void {
    const optional = covered.filter(({ controller, handler }) => {
      const { required, policy } = this.operations.of(controller, handler)!;
      return !required && policy.transactional;
    });
    if (this.mode === 'off' || optional.length === 0) return;
    this.logger.warn(
      'Under `required: false` a request without a key runs outside a transaction, and its @IdempotentExecution() is undefined: ' +
        optional.map(({ name }) => name).join(', '),
    );
  }

  /** A controller may take both, and a message does not say whether it changes something. */
  private warnOfPassedOver(): void {
    const names = this.routes.passedOver();
    if (this.mode === 'off' || names.length === 0) return;
    this.logger.warn(
      '@Idempotent() on a class covers what changes something over HTTP, and not its other handlers. Put it on the method of a ' +
        `message handler, call IdempotencyService.run() in those of other packages, or say @NotIdempotent(): ${names.join(', ')}`,
    );
  }

  /** Whether somebody decided about a route, or it needs no decision. */
  private check(route: Route): boolean {
    const { handler, isMutating, unfit, marking } = route;
    if (marking === undefined) return !isMutating;
    if (marking === 'exempt') return true;
    // On the class, it does not cover such methods.
    if (unfit && isMarkedItself(handler)) throw new Error(`@Idempotent() on ${labelOf(route)}: ${unfit}`);
    return true;
  }
}

/**
 * An event is given to every handler of its pattern, and each carries it out once: one that goes by the name of another would
 * take the other's outcome for its own.
 */
function checkEvents(covered: readonly Route[]): void {
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
 * What an operation itself says of query parameters it would never find in a message or a mutation. What its class or the
 * module says is for others as well.
 */
function checkPointers({ kind, controller, handler, name }: Route): void {
  if (kind === 'http') return;
  const marking = markingOf(kind === 'mutation' ? controller : {}, handler);
  if (marking === undefined || marking === 'exempt') return;
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

/** Two handlers with one name answer each other's requests: a mistake, unless both say that they are one operation. */
function checkNames(covered: readonly Route[]): void {
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
  return marking !== 'exempt' && marking?.shared === true;
}

function labelOf({ name, operation }: Route): string {
  return operation === undefined ? name : `${name} (${operation})`;
}
