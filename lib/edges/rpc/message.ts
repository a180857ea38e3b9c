import type { ExecutionContext } from '@nestjs/common';
import { canonicalJson } from '../content/canonical-json.js';
import { knowGrpcMetadata } from '../content/grpc-metadata.js';
import { isEventHandler, isGrpcPattern, messagePatternsOf } from '../../private-names/nest.js';
import { watchedBehind } from '../../handlers/watch-handler.js';

/**
 * The prefix of a shared MQTT subscription (MQTT 5.0, section 4.8.2). It is no part of the operation's name: during a rollout, some
 * instances may subscribe with it and some without, for the same operation.
 */
const SHARED_SUBSCRIPTION = /^\$share\/[^/]+\//;

type Headers = Readonly<Record<string, unknown>>;

interface NatsHeaders {
  keys(): Iterable<string>;
  values(name: string): string[];
}

/** The methods by which contexts of Nest's transports give what a message was sent to, and its headers. Each context has some of them. */
interface TransportContext {
  getPattern?(): unknown;
  getSubject?(): unknown;
  getChannel?(): unknown;
  getTopic?(): unknown;
  /** NATS */
  getHeaders?(): NatsHeaders | Headers | undefined;
  /** Kafka, RabbitMQ */
  getMessage?():
    { headers?: Headers | NatsHeaders; properties?: { headers?: Headers; messageId?: unknown } } | undefined;
  /** MQTT 5 */
  getPacket?(): { properties?: { userProperties?: Headers } } | undefined;
  /** TCP and Redis, from Nest 12 on */
  getMetadata?(): unknown;
  /** gRPC */
  getMap?(): Headers;
}

/** Returns the values of a header, whose name is case-insensitive. */
export type MessageHeaders = (name: string) => readonly string[];

/** A message for a `@MessagePattern()` or `@EventPattern()` handler. */
export interface Message {
  readonly isEvent: boolean;
  /**
   * `RPC orders.create`, or `EVENT order.placed Stock.onOrder`. An event's endpoint names the handler, because every handler of the
   * pattern gets the event, and each has to run once.
   */
  readonly endpoint: string;
  /** What the message was sent to. It is more exact than a pattern with wildcards. */
  readonly subject: string;
  readonly payload: unknown;
  readonly headers: MessageHeaders;
  /** The transport's context, such as an RmqContext. */
  readonly context: TransportContext;
}

export function messageOf(context: ExecutionContext): Message {
  const rpc = context.switchToRpc();
  const handler = watchedBehind(context.getHandler());
  const transport = rpc.getContext<TransportContext | undefined>() ?? {};
  // For replays of errors with metadata, also of inner operations.
  knowGrpcMetadata(transport);
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

export function eventEndpointsOf(controller: object, handler: object): string[] {
  const patterns = patternsOf(handler);
  return [...new Set([...patterns, patterns.join(' | ')])].map((one) => eventEndpoint(one, controller, handler));
}

function eventEndpoint(pattern: string, controller: object, handler: object): string {
  return `EVENT ${pattern} ${(controller as { name: string }).name}.${(handler as { name: string }).name}`;
}

/**
 * Returns what the wildcards of a handler's pattern match in a subject. With the option `operation`, this is compared instead of the
 * subject, because patterns may change between releases. Returns the whole subject if no pattern matches it.
 */
export function subjectParameters(handler: object, subject: string): readonly string[] {
  const patterns = patternsOf(handler);
  // A transport that does not know the subject names all patterns.
  if (patterns.includes(subject) || subject === patterns.join(' | ')) return [];
  for (const pattern of patterns) {
    const values = wildcards(pattern).exec(subject)?.slice(1);
    if (values) return values;
  }
  return [subject];
}

/** In NATS, MQTT (between slashes) and AMQP, `*` and `+` match one part of a subject, `>` and `#` the rest. */
function wildcards(pattern: string): RegExp {
  const separator = pattern.includes('/') ? '/' : '.';
  const parts = pattern.split(separator).map((part) => {
    if (part === '*' || part === '+') return `([^${separator}]+)`;
    return part === '>' || part === '#' ? '(.*)' : part.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
  });
  return new RegExp(`^${parts.join(`\\${separator}`)}$`, 's');
}

function patternsOf(handler: object): string[] {
  return messagePatternsOf(handler).map((pattern) => textOfPattern(pattern).replace(SHARED_SUBSCRIPTION, ''));
}

function subjectOf(context: TransportContext): string | undefined {
  const subject = context.getPattern?.() ?? context.getSubject?.() ?? context.getChannel?.() ?? context.getTopic?.();
  return typeof subject === 'string' ? textOfPattern(parsed(subject)) : undefined;
}

/** Parses a pattern that is an object. Transports write it as JSON, with members in different orders. */
function parsed(subject: string): unknown {
  if (!subject.startsWith('{')) return subject;
  try {
    return JSON.parse(subject) as unknown;
  } catch {
    return subject;
  }
}

function textOfPattern(pattern: unknown): string {
  if (isGrpcPattern(pattern)) return `${pattern.service}/${pattern.rpc}`;
  return typeof pattern === 'string' ? pattern : canonicalJson(pattern);
}

/** Returns the headers of a message on any transport. Names are case-insensitive. */
export function messageHeaders(context: TransportContext): MessageHeaders {
  const headers = headersOf(context);
  return (name) =>
    Object.entries(headers)
      .filter(([key]) => key.toLowerCase() === name.toLowerCase())
      .flatMap(([, value]) => value)
      .filter((value) => value !== undefined && value !== null)
      .map(textOfValue);
}

function textOfValue(value: unknown): string {
  if (value instanceof Uint8Array) return Buffer.from(value).toString();
  // AMQP's 64-bit integers may be bigints.
  return typeof value === 'object' ? canonicalJson(value) : String(value as number | bigint | boolean);
}

function headersOf(context: TransportContext): Headers {
  const message = context.getMessage?.();
  const metadata = context.getMetadata?.();
  return recordOf(
    context.getHeaders?.() ??
      message?.properties?.headers ??
      message?.headers ??
      context.getPacket?.()?.properties?.userProperties ??
      (typeof metadata === 'object' && metadata !== null ? (metadata as Headers) : undefined) ??
      context.getMap?.() ??
      {},
  );
}

/** Returns headers as an object, also those of a message of JetStream, which custom transports hand on. */
function recordOf(headers: Headers | NatsHeaders): Headers {
  if (!isOfNats(headers)) return headers;
  return Object.fromEntries([...headers.keys()].map((name) => [name, headers.values(name)]));
}

/** A header with such a name is no function. */
function isOfNats(headers: Headers | NatsHeaders): headers is NatsHeaders {
  return typeof headers.keys === 'function' && typeof headers.values === 'function';
}
