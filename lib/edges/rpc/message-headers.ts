import { canonicalJson } from '../content/canonical-json.js';

export type MessageHeaders = (name: string) => readonly string[];

type Headers = Readonly<Record<string, unknown>>;

/** The methods by which contexts of Nest's transports give headers. Each context has one of them. */
interface TransportContext {
  /** NATS */
  getHeaders?(): { keys(): Iterable<string>; values(name: string): string[] } | undefined;
  /** Kafka, RabbitMQ */
  getMessage?(): { headers?: Headers; properties?: { headers?: Headers } } | undefined;
  /** MQTT 5 */
  getPacket?(): { properties?: { userProperties?: Headers } } | undefined;
  /** TCP and Redis, from Nest 12 on */
  getMetadata?(): unknown;
  /** gRPC */
  getMap?(): Headers;
}

/** Returns the headers of a message on any transport. Names are case-insensitive. */
export function messageHeaders(transport: unknown): MessageHeaders {
  const headers = headersOf((transport ?? {}) as TransportContext);
  return (name) =>
    Object.entries(headers)
      .filter(([key]) => key.toLowerCase() === name.toLowerCase())
      .flatMap(([, value]) => value)
      .filter((value) => value !== undefined && value !== null)
      .map(textOf);
}

function textOf(value: unknown): string {
  if (value instanceof Uint8Array) return Buffer.from(value).toString();
  // AMQP's 64-bit integers may be bigints.
  return typeof value === 'object' ? canonicalJson(value) : String(value as number | bigint | boolean);
}

function headersOf(context: TransportContext): Headers {
  const nats = context.getHeaders?.();
  if (nats) return Object.fromEntries([...nats.keys()].map((name) => [name, nats.values(name)]));
  const message = context.getMessage?.();
  const metadata = context.getMetadata?.();
  return (
    message?.properties?.headers ??
    message?.headers ??
    context.getPacket?.()?.properties?.userProperties ??
    (typeof metadata === 'object' && metadata !== null ? (metadata as Headers) : undefined) ??
    context.getMap?.() ??
    {}
  );
}
