import { canonicalJson } from '../content/canonical-json.js';

/** What a message's header has been given: nothing, a text, or several. */
export type MessageHeaders = (name: string) => readonly string[];

type Headers = Readonly<Record<string, unknown>>;

/** The parts of Nest's transport contexts that carry headers; each has one of them. */
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

/** The headers of a message, whatever its transport calls them; names are compared without regard to case. */
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
  // A 64-bit integer of AMQP may be a bigint.
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
