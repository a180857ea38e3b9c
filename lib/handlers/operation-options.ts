import { isWiredByHand, markingOf } from './marking.js';
import { mergeOptions } from '../options/merge-options.js';
import type { ResolvedModuleOptions, ResolvedOperationOptions } from '../options/resolved-options.js';
import { resolveOperationOptions } from '../options/resolve-options.js';

/** The options of each handler, resolved once. */
export class OperationOptions {
  private readonly known = new WeakMap<object, WeakMap<object, ResolvedOperationOptions | undefined>>();
  private defaults: ResolvedOperationOptions | undefined;

  constructor(private readonly module: Pick<ResolvedModuleOptions, 'defaults'>) {}

  /** The module's defaults, for handlers without a decorator. */
  get ofModule(): ResolvedOperationOptions {
    return (this.defaults ??= resolveOperationOptions(this.module.defaults));
  }

  /** Returns `undefined` for a handler that is exempt or has no decorator, as a globally wired interceptor meets them. */
  of(controller: object, handler: object): ResolvedOperationOptions | undefined {
    let ofController = this.known.get(controller);
    if (!ofController) this.known.set(controller, (ofController = new WeakMap()));
    if (!ofController.has(handler)) ofController.set(handler, this.resolve(controller, handler));
    return ofController.get(handler);
  }

  private resolve(controller: object, handler: object): ResolvedOperationOptions | undefined {
    const marking = markingOf(controller, handler);
    if (marking === 'exempt') return undefined;
    if (marking) return resolveOperationOptions(mergeOptions(this.module.defaults, marking));
    return isWiredByHand(controller, handler) ? this.ofModule : undefined;
  }
}
