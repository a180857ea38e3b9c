import { type ExecutionContext, RequestMethod, type Type } from '@nestjs/common';
import { hasGuards, isNative, isOfHosts, requestMethodOf, versionOf } from '../../handlers/nest-decorators.js';
import { isWatched, watchedBehind } from '../../handlers/watch-handler.js';
import { storedLabel } from '../../engine/stored-text.js';
import type { OperationOptions } from '../../handlers/operation-options.js';
import type { ResolvedOperationOptions } from '../../options/resolved-options.js';
import type { RunSettings } from '../shared/run-end.js';
import type { Exchange } from './exchange.js';

/** What all requests of an operation have in common. */
export interface HttpOperation extends RunSettings {
  /** `endpoint` as the store has it. */
  readonly label: string;
  /** The route of an operation that has a name of its own, as the store has it. */
  readonly route: string | null;
  /** Method and route template, such as `POST /payments/:id`. */
  readonly template: string;
  /** Of the handler, where it has one: a version may come from a header instead of the route. */
  readonly version: string;
  /** Whether its route takes several methods, which ask for different things: `@All()`. */
  readonly hasMethods: boolean;
  /** Whether its route is for some hosts alone. */
  readonly hasHosts: boolean;
  /** Whether `@UseGuards()` names guards for it. */
  readonly hasGuards: boolean;
  /** Whether the handler writes the response itself, by a native `@Res()` or `@Next()`. */
  readonly native: boolean;
}

/** The operations of an application, each worked out at its first request: metadata is expensive to read. */
export class HttpOperations {
  private readonly known = new WeakMap<object, WeakMap<object, Map<string, HttpOperation>>>();

  constructor(
    private readonly options: OperationOptions,
    private readonly common: Pick<RunSettings, 'documentation' | 'errors'>,
  ) {}

  /**
   * @param exchange a handler may have several routes. Looked at where the handler is covered: what else passes through the
   *   interceptor may have none
   * @returns `undefined` where `@NotIdempotent()` exempts the handler, or nothing is said of it
   */
  of(context: ExecutionContext, exchange: Pick<Exchange, 'endpoint'>): HttpOperation | undefined {
    const controller = context.getClass();
    const handler = watchedBehind(context.getHandler());
    const options = this.options.of(controller, handler);
    if (!options) return undefined;
    let ofController = this.known.get(controller);
    if (!ofController) this.known.set(controller, (ofController = new WeakMap()));
    let ofHandler = ofController.get(handler);
    if (!ofHandler) ofController.set(handler, (ofHandler = new Map()));
    const { endpoint: template } = exchange;
    let operation = ofHandler.get(template);
    if (!operation) ofHandler.set(template, (operation = this.read(options, controller, handler, template)));
    return operation;
  }

  private read(options: ResolvedOperationOptions, controller: Type, handler: object, template: string): HttpOperation {
    const endpoint = options.operation ?? template;
    return {
      ...this.common,
      options,
      endpoint,
      label: storedLabel(endpoint),
      route: options.operation === undefined ? null : storedLabel(template),
      template,
      version: versionOf(controller, handler),
      hasMethods: requestMethodOf(handler) === RequestMethod.ALL,
      hasHosts: isOfHosts(controller, handler),
      hasGuards: hasGuards(controller, handler),
      handler,
      watched: isWatched(handler),
      native: isNative(controller, handler),
    };
  }
}
