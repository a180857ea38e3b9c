import { type ExecutionContext, RequestMethod, type Type } from '@nestjs/common';
import {
  computedHeadersOf,
  hasGuards,
  isNative,
  isLimitedToHosts,
  requestMethodOf,
  versionOf,
} from '../../private-names/nest.js';
import { isWatched, watchedBehind } from '../../handlers/watch-handler.js';
import { storedLabel } from '../../engine/stored-text.js';
import type { OperationOptions } from '../../handlers/operation-options.js';
import type { ResolvedOperationOptions } from '../../options/resolved-options.js';
import type { RunSettings } from '../shared/run-end.js';
import type { Exchange } from './exchange.js';

/** What is known of an operation before a request comes. */
export interface HttpOperation extends RunSettings {
  /** `endpoint` as it is stored. */
  readonly label: string;
  /** With the option `operation`: the template as it is stored. */
  readonly route: string | null;
  /** Method and route template, such as `POST /payments/:id`. */
  readonly template: string;
  /** The handler's version and Fastify's constraints, or an empty text. They may come from a header instead of the route. */
  readonly version: string;
  /**
   * With the option `operation`: its name, and the method if the route takes several, as `@All()` does. Without the method, a DELETE would
   * get the replay of a PUT.
   */
  readonly named?: string | undefined;
  /** Whether the route is limited to hosts. The host is then part of the identity. */
  readonly hasHosts: boolean;
  /** Whether `@UseGuards()` covers the handler. */
  readonly hasGuards: boolean;
  /** Whether the handler writes the response itself, through a native `@Res()` or `@Next()`. */
  readonly native: boolean;
  /** Headers that the handler's `@Header()` computes for each request, in lower case. Nest sets them before interceptors run. */
  readonly computedHeaders: readonly string[];
}

/** The operations of an application. Each is read at its first request and kept, because metadata is expensive to read. */
export class HttpOperations {
  private readonly known = new WeakMap<object, WeakMap<object, Map<string, HttpOperation>>>();

  constructor(
    private readonly options: OperationOptions,
    private readonly common: Pick<RunSettings, 'documentation' | 'errors'>,
  ) {}

  /**
   * @param exchange gives the route, of which a handler may have several. It is read only for a covered handler: calls that are not
   *   HTTP pass through the interceptor, too, and have no route
   * @returns `undefined` if no decorator marks the handler, or `@NotIdempotent()` exempts it
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
    const { operation } = options;
    const endpoint = operation ?? template;
    const method = requestMethodOf(handler) === RequestMethod.ALL ? template.split(' ', 1)[0] : '';
    return {
      ...this.common,
      options,
      endpoint,
      label: storedLabel(endpoint),
      route: operation === undefined ? null : storedLabel(template),
      template,
      version: versionOf(controller, handler),
      named: operation === undefined ? undefined : `${operation}\n${method}`,
      hasHosts: isLimitedToHosts(controller, handler),
      hasGuards: hasGuards(controller, handler),
      handler,
      watched: isWatched(handler),
      native: isNative(controller, handler),
      computedHeaders: computedHeadersOf(handler),
    };
  }
}
