import { HttpException } from '@nestjs/common';
import { type StoredOutcome, TOMBSTONE, VALUE_CODE } from '../engine/outcome.js';

/** An error as it is kept: enough to be thrown again. Never its stack. */
interface StoredError {
  readonly name: string;
  readonly message: string;
  /** Of an HttpException. */
  readonly status?: number;
  readonly response?: string | object;
}

type Head = { readonly kind: 'value' } | { readonly kind: 'error'; readonly error: StoredError };

/** Packs a handler's value, as JSON; a tombstone where it is larger than `maxBytes`. */
export function packValue(value: unknown, maxBytes: number): StoredOutcome {
  return pack({ kind: 'value' }, JSON.stringify(value), maxBytes);
}

/** Packs what a handler threw. */
export function packError(error: unknown, maxBytes: number): StoredOutcome {
  return pack({ kind: 'error', error: toStored(error) }, undefined, maxBytes);
}

/** Returns the value on record, or throws the error on record. */
export function unpackValue({ head, body }: StoredOutcome): unknown {
  const { kind, ...rest } = JSON.parse(head?.toString() ?? '{"kind":"value"}') as Head;
  if (kind === 'error') throw toError((rest as { error: StoredError }).error);
  return body ? JSON.parse(body.toString()) : undefined;
}

/** The status that stands for an error outside HTTP. */
export function statusOf(error: unknown): number {
  return error instanceof HttpException ? error.getStatus() : 500;
}

function pack(head: Head, body: string | undefined, maxBytes: number): StoredOutcome {
  const bytes = body === undefined ? null : Buffer.from(body);
  if (bytes && bytes.length > maxBytes) return TOMBSTONE;
  return { code: VALUE_CODE, head: Buffer.from(JSON.stringify(head)), body: bytes };
}

function toStored(error: unknown): StoredError {
  if (error instanceof HttpException) {
    return { name: error.name, message: error.message, status: error.getStatus(), response: error.getResponse() };
  }
  return error instanceof Error
    ? { name: error.name, message: error.message }
    : { name: 'Error', message: String(error) };
}

function toError({ name, message, status, response }: StoredError): Error {
  const error = status === undefined ? new Error(message) : new HttpException(response ?? message, status);
  error.name = name;
  return error;
}
