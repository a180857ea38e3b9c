import type { ExecutionContext } from '@nestjs/common';
import { canonicalJson } from '../content/canonical-json.js';
import { isEventHandler, isGrpcPattern, messagePatternsOf } from '../../handlers/nest-decorators.js';
import { watchedBehind } from '../../handlers/watch-handler.js';
import { type MessageHeaders, messageHeaders } from './message-headers.js';

/**
 * What makes a subscription of MQTT a shared one (MQTT 5.0, section 4.8.2). It is a matter of who gets a message, not of
 * which: instances that subscribe with and without it, as while a new version is rolled out, do the same operation.
 */
const SHARED_SUBSCRIPTION = /^\$share\/[^/]+\//;

/** What the contexts of Nest's transports have in common, as far as they have it. */
interface TransportContext {
  getPattern?(): unknown;
  getSubject?(): unknown;
  getChannel?(): unknown;
  getTopic?(): unknown;
}

/** A message for a `@MessagePattern()` or `@EventPattern()` handler. */
export interface Message {
  readonly isEvent: boolean;
  /**
   * `RPC orders.create`; `EVENT order.placed Stock.onOrder` for an event, which every handler of its pattern is given, and
   * each has to carry out once.
   */
  readonly endpoint: string;
  /** What the message was sent to, which a pattern with wildcards does not say. */
  readonly subject: string;
  readonly payload: unknown;
  readonly headers: MessageHeaders;
  /** The transport's context, such as an RmqContext. */
  readonly context: unknown;
}

export function messageOf(context: ExecutionContext): Message {
  const rpc = context.switchToRpc();
  const handler = watchedBehind(context.getHandler());
  const transport = rpc.getContext<unknown>();
  const patterns = patternsOf(handler);
  const subject = subjectOf(transport);
  const isEvent = isEventHandler(handler);
  const pattern = patterns.find((one) => one === subject) ?? patterns.join(' | ');
  return {
    isEvent,
    endpoint: isEvent ? eventEndpoint(pattern, context.getClass(), handler) : `RPC ${pattern}`,
    subject: subject ?? pattern,
    payload: rpc.getData<unknown>(),
    headers: messageHeaders(transport),
    context: transport,
  };
}

/** The endpoints that events for a handler may have. */
export function eventEndpointsOf(controller: object, handler: object): string[] {
  const patterns = patternsOf(handler);
  return [...new Set([...patterns, patterns.join(' | ')])].map((one) => eventEndpoint(one, controller, handler));
}

function eventEndpoint(pattern: string, controller: object, handler: object): string {
  return `EVENT ${pattern} ${(controller as { name: string }).name}.${(handler as { name: string }).name}`;
}

/**
 * Returns what the wildcards of a handler's pattern stand for in a subject: what is left of it where the operation has a
 * name, and patterns may change. The whole subject where no pattern says more.
 */
export function subjectParameters(handler: object, subject: string): readonly string[] {
  const patterns = patternsOf(handler);
  // Where a transport does not say what a message was sent to, all patterns identify the operation.
  if (patterns.includes(subject) || subject === patterns.join(' | ')) return [];
  for (const pattern of patterns) {
    const values = wildcards(pattern).exec(subject)?.slice(1);
    if (values) return values;
  }
  return [subject];
}

/** `*` and `+` are one part of a subject, `>` and `#` the rest: in NATS, MQTT (between slashes) and AMQP. */
function wildcards(pattern: string): RegExp {
  const separator = pattern.includes('/') ? '/' : '.';
  const parts = pattern.split(separator).map((part) => {
    if (part === '*' || part === '+') return `([^${separator}]+)`;
    return part === '>' || part === '#' ? '(.*)' : part.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
  });
  return new RegExp(`^${parts.join(`\\${separator}`)}$`, 's');
}

function patternsOf(handler: object): string[] {
  return messagePatternsOf(handler).map((pattern) => textOf(pattern).replace(SHARED_SUBSCRIPTION, ''));
}

function subjectOf(transport: unknown): string | undefined {
  const context = (transport ?? {}) as TransportContext;
  const subject = context.getPattern?.() ?? context.getSubject?.() ?? context.getChannel?.() ?? context.getTopic?.();
  return typeof subject === 'string' ? textOf(parsed(subject)) : undefined;
}

/** Transports write patterns that are objects as JSON, with members in an order of their own. */
function parsed(subject: string): unknown {
  if (!subject.startsWith('{')) return subject;
  try {
    return JSON.parse(subject) as unknown;
  } catch {
    return subject;
  }
}

function textOf(pattern: unknown): string {
  if (isGrpcPattern(pattern)) return `${pattern.service}/${pattern.rpc}`;
  return typeof pattern === 'string' ? pattern : canonicalJson(pattern);
}
