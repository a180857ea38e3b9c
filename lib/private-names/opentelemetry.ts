import { context, createContextKey, type Span } from '@opentelemetry/api';

/** What `getRPCMetadata()` of `@opentelemetry/core` reads. Instrumentations of HTTP keep the span of a request under it. */
const RPC_METADATA = createContextKey('OpenTelemetry SDK Context Key RPC_METADATA');

/**
 * Returns the span of the HTTP request in whose async context this is called, if an instrumentation makes one.
 * `test/e2e/integrations/opentelemetry.e2e-spec.ts` fails when the key changes.
 */
export function requestSpan(): Span | undefined {
  return (context.active().getValue(RPC_METADATA) as { readonly span?: Span } | undefined)?.span;
}
