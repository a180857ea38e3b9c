import type { Logger } from '@nestjs/common';
import { isMarkedIdempotent } from '../handlers/marking.js';
import type { OperationOptions } from '../handlers/operation-options.js';
import { type CoveredRoute, isCovered, labelOf, type Route, type Routes } from '../handlers/routes.js';
import type { ResolvedOperationOptions } from '../options/resolved-options.js';
import { hasGuards } from '../private-names/nest.js';
import { HAS_CALLER } from '../service/policy.js';
import { refuseMistakes } from './boot-refusals.js';
import { committingInterceptors } from './committing-interceptors.js';
import { type Finding, HandlerEffects } from './handler-effects.js';

/** The shortest lease without a warning, in milliseconds. Garbage collection, or the move of a virtual machine, stops a process as long. */
const MIN_SAFE_LEASE_MS = 1_000;

/** The shortest retention without a warning, in milliseconds: a day in seconds, such as `86400`, is less. */
const MIN_SAFE_RETENTION_MS = 120_000;

/** How many handlers a line of the log names. An application with one idempotent route of two hundred would log all others at each boot. */
const MAX_NAMED = 10;

/** The option `audit`; `'list'` is as `'warn'`, and names every handler. */
type AuditMode = 'off' | 'warn' | 'error' | 'list';

/** What a line of the log says, and the handlers of which it says so. */
type Warning = readonly [what: string, handlers: readonly string[]];

/**
 * Checks every handler when the application boots, and logs mutating routes and mutations without a decision, `@Idempotent()` without an
 * effect, leases that a short pause would end, and handlers with effects that an operation cannot hold.
 */
export class BootAudit {
  constructor(
    private readonly routes: Routes,
    private readonly operations: OperationOptions,
    /** Returns the application's global interceptors, or their classes. */
    private readonly globalInterceptors: () => readonly object[],
    /** Whether a transaction host begins the transactions of operations. */
    private readonly hasHost: boolean,
  ) {}

  /** @throws Error for what {@link refuseMistakes} refuses, and under `'error'` for a doubtful marking or duration */
  run(mode: AuditMode, logger: Pick<Logger, 'warn'>): void {
    const routes = this.routes.all();
    refuseMistakes(this.routes, routes);
    // Resolves the options of every covered route: one that cannot be used fails the boot, even with `audit: 'off'`.
    const audited = routes.filter(isCovered).filter((route) => this.optionsOf(route).isAudited);
    if (mode === 'off') return;
    for (const [what, handlers] of [...markings(routes), ...this.durations(audited)]) {
      if (handlers.length === 0) continue;
      if (mode === 'error') throw new Error(`IdempotencyModule: ${what} ${handlers.join(', ')}`);
      logger.warn(`${what} ${(mode === 'list' ? handlers : abridged(handlers)).join(', ')}`);
    }
    for (const [what, handlers] of this.risks(audited)) {
      if (handlers.length > 0) logger.warn(`${what} ${handlers.join(', ')}`);
    }
  }

  private durations(audited: readonly CoveredRoute[]): Warning[] {
    const policyOf = (route: Route) => this.optionsOf(route).policy;
    return [
      [
        'A lease below a second (numbers are milliseconds) is lost in any pause of that length:',
        audited.filter((route) => policyOf(route).leaseMs < MIN_SAFE_LEASE_MS).map(labelOf),
      ],
      [
        'A retention below two minutes (numbers are milliseconds) ends while clients still retry, and their retries run again:',
        audited.filter((route) => policyOf(route).retentionMs < MIN_SAFE_RETENTION_MS).map(labelOf),
      ],
    ];
  }

  /** What never fails the boot, because it may be meant so, or is read from source text. */
  private risks(audited: readonly CoveredRoute[]): Warning[] {
    const transactional = audited.filter((route) => this.optionsOf(route).policy.transactional);
    return [
      // A constant `scope` says that the senders are one.
      [
        'A message has no principal. All senders that the guards of these handlers let in share their keys, and get the outcomes of ' +
          'one another. Set `scope`, to a constant if they are one sender:',
        audited
          .filter(({ kind, controller, handler }) => !HAS_CALLER[kind] && hasGuards(controller, handler))
          .filter((route) => this.optionsOf(route).scope === undefined)
          .map(labelOf),
      ],
      [
        'Under `required: false` a request without a key runs outside a transaction, and its @IdempotentExecution() is undefined:',
        transactional.filter((route) => !this.optionsOf(route).required).map(({ name }) => name),
      ],
      [
        '@Idempotent() on a class covers what changes something over HTTP, and not its other handlers. Put it on the method of a ' +
          'message handler, call IdempotencyService.run() in those of other packages, or say @NotIdempotent():',
        this.routes.notCovered(),
      ],
      ...(audited.length > 0 ? this.effects(audited, transactional) : []),
    ];
  }

  private effects(audited: readonly Route[], transactional: readonly Route[]): Warning[] {
    const effects = new HandlerEffects(this.routes.wrappers(), this.hasHost);
    const found = new Map(audited.map((route) => [route, effects.of(route)]));
    const named = (kind: Finding['kind'], routes: readonly Route[]) =>
      routes.flatMap((route) => {
        const texts = found.get(route)!.filter((finding) => finding.kind === kind);
        return texts.length > 0 ? [`${labelOf(route)} (${texts.map(({ text }) => text).join('; ')})`] : [];
      });
    const globals = this.globalInterceptors();
    return [
      [
        '`transactional` covers what is written through execution.manager. A rollback does not undo what these write through another ' +
          "client, and a retry writes it again. Write on the transaction's connection, under a key of execution.deriveKey(), or in " +
          'execution.step():',
        named('database', transactional),
      ],
      [
        'A rollback does not undo what these transactional handlers send before they commit, and a retry sends it again. Send it in ' +
          'execution.step(), with a key of execution.deriveKey(), or from an outbox:',
        named('messenger', transactional),
      ],
      [
        'These handlers do not wait for work that they start: it is lost if the process dies after the outcome is on record, and its ' +
          'failure changes no answer. Await it, or put it into a queue or an outbox:',
        named('unawaited', audited),
      ],
      [
        'At a shutdown, Nest calls onModuleDestroy() and beforeApplicationShutdown() before running handlers have ended. What these handlers ' +
          'use closes under them, so that they fail half way. Close it in onApplicationShutdown():',
        named('closes early', audited),
      ],
      [
        'An interceptor commits what these handlers write, after they have succeeded. Over HTTP, a transaction of TypeORM that is rolled ' +
          'back frees the key. If any other COMMIT fails, the operation stays recorded as done, and no retry repeats it. Use ' +
          '`transactional: true`, or commit within the method:',
        audited.flatMap((route) => {
          const committing = committingInterceptors(route, globals);
          return committing.length > 0 ? [`${labelOf(route)} (${committing.join(', ')})`] : [];
        }),
      ],
    ];
  }

  private optionsOf({ controller, handler }: Route): ResolvedOperationOptions {
    return this.operations.of(controller, handler)!;
  }
}

function markings(routes: readonly Route[]): Warning[] {
  const safe = routes.filter(({ isSafe, handler }) => isSafe && isMarkedIdempotent(handler));
  const undecided = routes.filter(({ isMutating, marking }) => isMutating && marking === undefined);
  return [
    ['Safe methods such as GET change nothing and are never touched: remove @Idempotent() from', safe.map(labelOf)],
    ['Mutating routes with neither @Idempotent() nor @NotIdempotent():', undecided.map(labelOf)],
  ];
}

function abridged(handlers: readonly string[]): readonly string[] {
  const more = handlers.length - MAX_NAMED;
  if (more <= 0) return handlers;
  const rest = `and ${more} more. \`npx nestjs-idempotency doctor\` names all, \`audit: 'off'\` none`;
  return [...handlers.slice(0, MAX_NAMED), rest];
}
