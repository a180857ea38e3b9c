import type { ResolvedModuleOptions } from '../../options/resolved-options.js';
import { type KeyReading, readKeyText } from '../shared/key-header.js';
import type { Message } from './message.js';

const MISSING: KeyReading = { kind: 'missing' };

/** What comes before the names of CloudEvents attributes: NATS and HTTP, Kafka, AMQP (two forms), and MQTT 5. */
const PREFIXES = ['ce-', 'ce_', 'cloudEvents:', 'cloudEvents_', ''];

/**
 * The key of a message: the header, such as `Idempotency-Key`; else the id of a CloudEvent (CloudEvents 1.0.2, section
 * 3.1.1: unique for its source, which therefore belongs to the key); else the AMQP `message-id`.
 */
export function readMessageKey(
  message: Message,
  { header, keyFormat }: Pick<ResolvedModuleOptions, 'header' | 'keyFormat'>,
): KeyReading {
  const lines = message.headers(header);
  if (lines.length > 1) return { kind: 'invalid', problem: `The ${header} header is repeated.` };
  if (lines.length === 1) return readKeyText(lines[0], header, keyFormat);
  const key = binaryCloudEvent(message) ?? structuredCloudEvent(message.payload) ?? messageIdOf(message.context);
  return key === undefined ? MISSING : { kind: 'key', key };
}

/** Its attributes are headers, and its payload is the event's data. */
function binaryCloudEvent({ headers }: Message): string | undefined {
  for (const prefix of PREFIXES) {
    const [specversion, id, source] = ['specversion', 'id', 'source'].map((name) => headers(prefix + name)[0]);
    if (specversion && id && source) return cloudEventKey(source, id);
  }
  return undefined;
}

/** Its payload is the event, attributes and data. */
function structuredCloudEvent(payload: unknown): string | undefined {
  const { specversion, id, source } = (payload ?? {}) as Record<string, unknown>;
  if (typeof specversion !== 'string' || typeof id !== 'string' || typeof source !== 'string') return undefined;
  return specversion && id && source ? cloudEventKey(source, id) : undefined;
}

/** A source is a URI reference, and so without white space. */
function cloudEventKey(source: string, id: string): string {
  return `${source} ${id}`;
}

function messageIdOf(context: unknown): string | undefined {
  const amqp = (context ?? {}) as { getMessage?(): { properties?: { messageId?: unknown } } | undefined };
  const messageId = amqp.getMessage?.()?.properties?.messageId;
  return typeof messageId === 'string' && messageId ? messageId : undefined;
}
