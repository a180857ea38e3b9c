import { Logger } from '@nestjs/common';
import { isIdempotent, isMarkedIdempotent, markingOf } from '../handlers/marking.js';
import { eventEndpointsOf } from '../edges/rpc/message.js';
import type { OperationOptions } from '../handlers/operation-options.js';
import { type CoveredRoute, IS_COVERED_BY_CLASS, isCovered, type Route, type Routes } from '../handlers/routes.js';
import type { ResolvedOperationOptions } from '../options/resolved-options.js';
import { hasGuards } from '../private-names/nest.js';
import { HAS_CALLER } from '../service/policy.js';
import { committingInterceptors } from './committing-interceptors.js';
import { type Finding, HandlerEffects } from './handler-effects.js';

/** The shortest lease without a warning, in milliseconds. Garbage collection, or the move of a virtual machine, stops a process as long. */
const MIN_SAFE_LEASE_MS = 1_000;

/** The shortest retention without a warning, in milliseconds: a day in seconds, such as `86400`, is less. */
const MIN_SAFE_RETENTION_MS = 120_000;

/** How many handlers a line of the log names. An application with one idempotent route of two hundred would log all others at each boot. */
const MAX_NAMED = 10;

/**
 * Checks every handler when the application boots. `@Idempotent()` fails the boot where it cannot work, where nothing calls the method
 * through Nest's pipeline, or where two handlers would share records. The audit logs mutating routes and mutations without a decision,
 * `@Idempotent()` without an effect, leases that a short pause would end, and handlers with effects that an operation cannot hold.
 */
export class BootAudit {
  constructor(
    private readonly routes: Routes,
    private readonly operations: OperationOptions,
    /** The option `audit`; `'list'` is as `'warn'`, and names every handler. */
    private readonly mode: 'off' | 'warn' | 'error' | 'list',
    private readonly logger: Pick<Logger, 'warn'> = new Logger('Idempotency'),
    /** Returns the application's global interceptors, or their classes. */
    private readonly globalInterceptors: () => readonly object[] = () => [],
    /** Whether a transaction host begins the transactions of operations. */
    private readonly hasHost = false,
  ) {}

  run(): void {
    this.refuseUnreachable();
    const routes = this.routes.all();
    const covered = routes.filter(isCovered);
    refuseEqualEvents(covered);
    covered.forEach(refuseQueryPointers);
    refuseEqualNames(covered);
    routes.forEach(refuseUnfit);
    // Resolves the options of every covered route: one that cannot be used fails the boot, even with `audit: 'off'`.
    const audited = covered.filter((route) => this.optionsOf(route).isAudited);
    if (this.mode === 'off') return;
    this.reportMarkings(routes);
    this.reportDurations(audited);
    const transactional = audited.filter((route) => this.optionsOf(route).policy.transactional);
    this.warnOfSharedKeys(audited);
    this.warnOfMissingProtection(transactional);
    if (audited.length > 0) this.warnOfEffects(audited, transactional);
  }

  private refuseUnreachable(): void {
    const unreachable = this.routes.unreachable();
    if (unreachable.length > 0) {
      throw new Error(
        `@Idempotent() on ${unreachable.join(', ')}: it covers handlers of controllers and mutations of resolvers alone. Put ` +
          'it there, or call IdempotencyService.run()',
      );
    }
    const lost = this.routes.lost();
    if (lost.length > 0) {
      throw new Error(
        `@Idempotent() on ${lost.join(', ')}: a decorator above it has replaced the method, and with it what @Idempotent() has put there. ` +
          'Write @Idempotent() above that decorator',
      );
    }
    const inVain = this.routes.wiredInVain();
    if (inVain.length > 0) {
      throw new Error(
        `IdempotencyInterceptor on ${inVain.join(', ')}: wired by hand, it covers HTTP routes and mutations alone. Put ` +
          '@Idempotent() on message handlers, and call IdempotencyService.run() in gateways and in handlers of other packages',
      );
    }
  }

  private reportMarkings(routes: readonly Route[]): void {
    const safe = routes.filter(({ isSafe, handler }) => isSafe && isMarkedIdempotent(handler));
    const undecided = routes.filter(({ isMutating, marking }) => isMutating && marking === undefined);
    this.report(
      'Safe methods such as GET change nothing and are never touched: remove @Idempotent() from',
      safe.map(labelOf),
    );
    this.report('Mutating routes with neither @Idempotent() nor @NotIdempotent():', undecided.map(labelOf));
  }

  private reportDurations(audited: readonly Route[]): void {
    const policyOf = (route: Route) => this.optionsOf(route).policy;
    this.report(
      'A lease below a second (numbers are milliseconds) is lost in any pause of that length:',
      audited.filter((route) => policyOf(route).leaseMs < MIN_SAFE_LEASE_MS).map(labelOf),
    );
    this.report(
      'A retention below two minutes (numbers are milliseconds) ends while clients still retry, and their retries run again:',
      audited.filter((route) => policyOf(route).retentionMs < MIN_SAFE_RETENTION_MS).map(labelOf),
    );
  }

  /**
   * Never fails the boot. `required: false` is a legitimate choice, but such a handler fails where it uses `execution.manager` without a
   * key. Message handlers that the decorator of their class does not cover may change nothing.
   */
  private warnOfMissingProtection(transactional: readonly Route[]): void {
    this.warn(
      'Under `required: false` a request without a key runs outside a transaction, and its @IdempotentExecution() is undefined:',
      transactional.filter((route) => !this.optionsOf(route).required).map(({ name }) => name),
    );
    this.warn(
      '@Idempotent() on a class covers what changes something over HTTP, and not its other handlers. Put it on the method of a ' +
        'message handler, call IdempotencyService.run() in those of other packages, or say @NotIdempotent():',
      this.routes.notCovered(),
    );
  }

  /** A constant `scope` says that the senders are one. */
  private warnOfSharedKeys(audited: readonly CoveredRoute[]): void {
    this.warn(
      'A message has no principal. All senders that the guards of these handlers let in share their keys, and get the outcomes of ' +
        'one another. Set `scope`, to a constant if they are one sender:',
      audited
        .filter(({ kind, controller, handler }) => !HAS_CALLER[kind] && hasGuards(controller, handler))
        .filter((route) => this.optionsOf(route).scope === undefined)
        .map(labelOf),
    );
  }

  /** Never fails the boot, because it reads source text. */
  private warnOfEffects(audited: readonly Route[], transactional: readonly Route[]): void {
    const effects = new HandlerEffects(this.routes.wrappers(), this.hasHost);
    const found = new Map(audited.map((route) => [route, effects.of(route)]));
    const named = (kind: Finding['kind'], routes: readonly Route[]) =>
      routes.flatMap((route) => {
        const texts = found.get(route)!.filter((finding) => finding.kind === kind);
        return texts.length > 0 ? [`${labelOf(route)} (${texts.map(({ text }) => text).join('; ')})`] : [];
      });
    this.warn(
      '`transactional` covers what is written through execution.manager. A rollback does not undo what these write through another ' +
        "client, and a retry writes it again. Write on the transaction's connection, under a key of execution.deriveKey(), or in " +
        'execution.step():',
      named('database', transactional),
    );
    this.warn(
      'A rollback does not undo what these transactional handlers send before they commit, and a retry sends it again. Send it in ' +
        'execution.step(), with a key of execution.deriveKey(), or from an outbox:',
      named('messenger', transactional),
    );
    this.warn(
      'These handlers do not wait for work that they start: it is lost if the process dies after the outcome is on record, and its ' +
        'failure changes no answer. Await it, or put it into a queue or an outbox:',
      named('unawaited', audited),
    );
    this.warn(
      'At a shutdown, Nest calls onModuleDestroy() and beforeApplicationShutdown() before running handlers have ended. What these handlers ' +
        'use closes under them, so that they fail half way. Close it in onApplicationShutdown():',
      named('closes early', audited),
    );
    const globals = this.globalInterceptors();
    this.warn(
      'An interceptor commits what these handlers write, after they have succeeded. Over HTTP, a transaction of TypeORM that is rolled ' +
        'back frees the key. If any other COMMIT fails, the operation stays recorded as done, and no retry repeats it. Use ' +
        '`transactional: true`, or commit within the method:',
      audited.flatMap((route) => {
        const found = committingInterceptors(route, globals);
        return found.length > 0 ? [`${labelOf(route)} (${found.join(', ')})`] : [];
      }),
    );
  }

  private optionsOf({ controller, handler }: Route): ResolvedOperationOptions {
    return this.operations.of(controller, handler)!;
  }

  /** Logs a warning that fails the boot under `audit: 'error'`. */
  private report(what: string, names: readonly string[]): void {
    if (this.mode === 'error' && names.length > 0) throw new Error(`IdempotencyModule: ${what} ${names.join(', ')}`);
    const more = this.mode === 'list' ? 0 : names.length - MAX_NAMED;
    if (more <= 0) return this.warn(what, names);
    const rest = `and ${more} more. \`npx nestjs-idempotency doctor\` names all, \`audit: 'off'\` none`;
    this.warn(what, [...names.slice(0, MAX_NAMED), rest]);
  }

  private warn(what: string, names: readonly string[]): void {
    if (names.length > 0) this.logger.warn(`${what} ${names.join(', ')}`);
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

function labelOf({ name, operation }: Route): string {
  return operation === undefined ? name : `${name} (${operation})`;
}
