import type { CanActivate, ModuleMetadata, Type } from '@nestjs/common';
import { flag, jsonPointers, members, show } from '../options/checks.js';
import { IdempotencyOptionError, onBehalfOf } from '../options/option-error.js';

/** Options of `IdempotencyDashboardModule`; in `forRootAsync()`, the factory returns them. */
export interface IdempotencyDashboardOptions {
  /**
   * Whether operators may resolve, release and forget records on the page. These requests are `POST`, and the guards also decide about
   * each of them. Default: `false`, the page is read-only.
   */
  readonly actions?: boolean;
  /**
   * JSON pointers (RFC 6901, `*` is any member or index) to parts of requests, responses and results of steps that the page must not
   * show, such as `['/card/number', '/card/iban']`. A pointer that begins with `?` names a parameter of the query. With pointers,
   * content that is not JSON, or nested too deeply, is not shown at all. The module's own `request.redact` and `response.redact` apply as
   * well. Default: none.
   */
  readonly redact?: readonly string[];
  /**
   * Whether the page shows the content of requests, responses and steps, including the query of a URL and the headers of a response.
   * Default: `true`.
   */
  readonly content?: boolean;
}

/** Options beside `useFactory` in `forRootAsync()`: Nest needs them before it calls a factory. */
export interface IdempotencyDashboardExtras {
  /** Where the page is, below the global prefix: letters, digits, `-`, `_`, `.`, `~` and `/`. Default: `/idempotency`. */
  readonly path?: string;
  /**
   * Guards that decide who sees the page, as classes or instances. At least one is required, because the page shows customers' requests
   * and responses. Nest creates the classes in the dashboard's module: their dependencies have to be global, or exported by a module
   * among `imports`.
   */
  readonly guards?: readonly (Type<CanActivate> | CanActivate)[];
  /** `true` allows no guard: everyone who reaches the port sees the page. For applications behind a proxy that protects it. Default: `false`. */
  readonly public?: boolean;
  /** Modules that export the guards' dependencies, and `IdempotencyService` if that is not global. Default: none. */
  readonly imports?: ModuleMetadata['imports'];
  /** Decorators for the controller, such as `[Public()]`, which makes a global guard skip it. Default: none. */
  readonly decorators?: readonly ClassDecorator[];
}

export type ResolvedDashboardOptions = Required<IdempotencyDashboardOptions>;

const MODULE = 'IdempotencyDashboardModule';
const PATH = /^\/?[\w.~-]+(\/[\w.~-]+)*\/?$/;

const OPTIONS = members({ actions: flag(false), redact: jsonPointers({ query: true }), content: flag(true) });

/** @throws IdempotencyOptionError for an option that cannot be used, naming it */
export function resolveDashboardOptions(options: IdempotencyDashboardOptions): ResolvedDashboardOptions {
  return onBehalfOf(MODULE, () => OPTIONS(options, ''));
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
