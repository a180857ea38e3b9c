import type { ModulesContainer } from '@nestjs/core';
import { IdempotencyService } from './service/idempotency.service.js';

/** Nest's metadata keys for what a class is constructed with, and for what is set on its instances. */
const PARAMETERS = ['design:paramtypes', 'self:paramtypes'];
const PROPERTIES = 'self:properties_metadata';

/** From here on AsyncLocalStorage costs next to nothing: it is part of the engine, and no longer made of hooks. */
const FREE_SINCE_NODE = 24;

/**
 * Whether requests run within an async context, unless the options say: where it is free, or where somebody is given the
 * service, whose `currentExecution()` depends on it.
 */
export function wantsAsyncContext(modules: ModulesContainer): boolean {
  if (Number.parseInt(process.versions.node, 10) >= FREE_SINCE_NODE) return true;
  return [...modules.values()].some(({ providers, controllers, injectables }) =>
    [...providers.values(), ...controllers.values(), ...injectables.values()].some(isGivenService),
  );
}

interface Injected {
  readonly inject?: readonly unknown[] | null;
  readonly metatype: unknown;
}

function isGivenService({ inject, metatype }: Injected): boolean {
  if (inject) return inject.some(isService);
  if (typeof metatype !== 'function') return false;
  const properties = (Reflect.getMetadata(PROPERTIES, metatype) ?? []) as { readonly type: unknown }[];
  return (
    PARAMETERS.some((key) => ((Reflect.getMetadata(key, metatype) ?? []) as unknown[]).some(isService)) ||
    properties.some(({ type }) => isService(type))
  );
}

/** A token, one that is optional, one that refers forward, or a parameter with a token of its own. */
function isService(token: unknown): boolean {
  if (token === IdempotencyService) return true;
  if (typeof token !== 'object' || token === null) return false;
  const {
    token: optional,
    forwardRef,
    param,
  } = token as { token?: unknown; forwardRef?: () => unknown; param?: unknown };
  return isService(optional) || isService(param) || (typeof forwardRef === 'function' && isService(forwardRef()));
}
