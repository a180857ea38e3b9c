import type { CanActivate, ModuleMetadata, Type } from '@nestjs/common';
import { checkNames, jsonPointers, oneOf, show } from '../options/checks.js';
import { IdempotencyOptionError } from '../options/option-error.js';

/** Options of `IdempotencyDashboardModule`; in `forRootAsync()`, the factory returns them. */
export interface IdempotencyDashboardOptions {
  /**
   * Whether operators may resolve, release and forget records on the page. A guard decides about each of these requests as well:
   * they are `POST`. Default: `false`, the page shows and changes nothing.
   */
  readonly actions?: boolean;
  /**
   * JSON pointers (RFC 6901, `*` is any member or index) to what the page must not show of requests, responses and results of
   * steps, such as `['/card/number', '/card/iban']`. A pointer that begins with `?` leads to a parameter of the query. Content
   * that is not JSON, or nested too deep, is then not shown at all. Added to what the module's own `request.redact` and `response.redact` say. Default: none.
   */
  readonly redact?: readonly string[];
  /**
   * Whether the page shows the content of requests, responses and steps at all, the query of a URL and the headers of a
   * response included. Default: `true`.
   */
  readonly content?: boolean;
}

/** Options that stand beside `useFactory` in `forRootAsync()`: they decide how the controller is made. */
export interface IdempotencyDashboardExtras {
  /** Where the page is, below the global prefix: letters, digits, `-`, `_`, `.`, `~` and `/`. Default: `/idempotency`. */
  readonly path?: string;
  /**
   * Guards that decide who sees the page, classes or instances, at least one: the page shows what customers sent and were
   * answered. Nest makes those that are classes, in the module of the dashboard: what they inject has to be global or among
   * `imports`.
   */
  readonly guards?: readonly (Type<CanActivate> | CanActivate)[];
  /** `true`: there is no guard, and everyone who reaches the port sees the page. Something in front of the application protects it. */
  readonly public?: boolean;
  /** Modules that export what the guards inject; and a module with `IdempotencyService`, where that is not global. */
  readonly imports?: ModuleMetadata['imports'];
  /** Decorators for the controller, such as one by which a global guard knows that it is not to decide: `[Public()]`. */
  readonly decorators?: readonly ClassDecorator[];
}

export interface ResolvedDashboardOptions {
  readonly actions: boolean;
  readonly redact: readonly string[];
  readonly content: boolean;
}

const MODULE = 'IdempotencyDashboardModule';
const PATH = /^\/?[\w.~-]+(\/[\w.~-]+)*\/?$/;

/** @throws IdempotencyOptionError for an option that cannot be used, naming it */
export function resolveDashboardOptions(options: IdempotencyDashboardOptions): ResolvedDashboardOptions {
  return ofDashboard(() => {
    checkNames(options, ['actions', 'redact', 'content']);
    return {
      actions: oneOf('actions', options.actions, [true, false], false),
      redact: jsonPointers('redact', options.redact, { query: true }),
      content: oneOf('content', options.content, [true, false], true),
    };
  });
}

/** @throws IdempotencyOptionError for an option that cannot be used, naming it */
export function checkExtras({ path, guards, public: isPublic, decorators }: IdempotencyDashboardExtras): void {
  const wrong = (option: string, problem: string) => new IdempotencyOptionError(option, problem, MODULE);
  if (typeof path !== 'string' || !PATH.test(path)) {
    throw wrong('path', `must be a path such as '/idempotency', without parameters, not ${show(path)}`);
  }
  if (isPublic !== undefined && typeof isPublic !== 'boolean') {
    throw wrong('public', `must be true or false, not ${show(isPublic)}`);
  }
  if (guards !== undefined && !(Array.isArray(guards) && guards.every(isGuard))) {
    throw wrong('guards', 'must be an array of guards: classes or objects that have canActivate()');
  }
  if (
    decorators !== undefined &&
    !(Array.isArray(decorators) && decorators.every((one) => typeof one === 'function'))
  ) {
    throw wrong('decorators', 'must be an array of class decorators');
  }
  if ((guards?.length ?? 0) > 0 || isPublic) return;
  throw wrong(
    'guards',
    'must name at least one guard, as the page shows what customers sent and were answered: { guards: [AdminGuard] }. ' +
      'Where something in front of the application protects the path, say { public: true }',
  );
}

function isGuard(guard: unknown): boolean {
  const { canActivate } = ((typeof guard === 'function' ? guard.prototype : guard) ?? {}) as Partial<CanActivate>;
  return typeof canActivate === 'function';
}

/** The checks are those of `IdempotencyModule`, which their errors would name. */
function ofDashboard<T>(check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (!(error instanceof IdempotencyOptionError)) throw error;
    throw new IdempotencyOptionError(error.option, error.problem, MODULE);
  }
}
