import { type KeySettings, readKeyLines } from '../shared/key-header.js';
import type { Message } from './message.js';

/** The prefixes of CloudEvents attributes in headers: of NATS and HTTP, Kafka, AMQP (two forms), and MQTT 5 (none). */
const PREFIXES = ['ce-', 'ce_', 'cloudEvents:', 'cloudEvents_', ''];

/**
 * Reads the key of a message: from the header (`Idempotency-Key`), then from a CloudEvent, then from the AMQP `message-id`.
 *
 * The key of a CloudEvent is its source and id, because an id is unique only within its source (CloudEvents 1.0.2, section 3.1.1).
 */
export function readMessageKey(message: Message, settings: KeySettings): string | undefined {
  return (
    readKeyLines(message.headers(settings.header), settings) ??
    binaryCloudEvent(message) ??
    structuredCloudEvent(message.payload) ??
    messageIdOf(message)
  );
}

/** Reads a CloudEvent in binary mode: the attributes are headers, and the payload is the data. */
function binaryCloudEvent({ headers }: Message): string | undefined {
  for (const prefix of PREFIXES) {
    const [specversion, id, source] = ['specversion', 'id', 'source'].map((name) => headers(prefix + name)[0]);
    if (specversion && id && source) return cloudEventKey(source, id);
  }
  return undefined;
}

/** Reads a CloudEvent in structured mode: the payload has attributes and data. */
function structuredCloudEvent(payload: unknown): string | undefined {
  const { specversion, id, source } = (payload ?? {}) as Record<string, unknown>;
  if (typeof specversion !== 'string' || typeof id !== 'string' || typeof source !== 'string') return undefined;
  return specversion && id && source ? cloudEventKey(source, id) : undefined;
}

/**
 * A source is a URI reference without white space, so that the space separates both unambiguously. One that has some all the same gets a
 * form of its own: `a b` and `c` would be the key of `a` and `b c`.
 */
function cloudEventKey(source: string, id: string): string {
  return source.includes(' ') ? ` ${JSON.stringify([source, id])}` : `${source} ${id}`;
}

function messageIdOf({ context }: Message): string | undefined {
  const messageId = context.getMessage?.()?.properties?.messageId;
  return typeof messageId === 'string' && messageId ? messageId : undefined;
}
