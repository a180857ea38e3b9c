import { isMainThread } from 'node:worker_threads';

/** What the documentation of OpenTelemetry recommends: `process.on('SIGTERM', () => sdk.shutdown().finally(() => process.exit(0)))`. */
const EXITS = /\.shutdown\s*\([^]*\bprocess\.exit\s*\(/;

/** A listener that closes the application itself, or Nest's own, whose source has `receivedSignal`. */
const CLOSES = /close|\bapp\b|receivedSignal/i;

/**
 * Returns what is wrong with the listeners of SIGTERM where each deploy is a crash: a plain handler that is killed between its effect and
 * its record runs again. `undefined` if nothing is seen to be wrong.
 *
 * In a worker thread there is nothing to see: signals come to the main thread, which closes the application by a message. AWS Lambda sends
 * none while a handler runs.
 */
export function faultOfSignals(): string | undefined {
  if (!isMainThread || process.env.AWS_LAMBDA_FUNCTION_NAME !== undefined) return undefined;
  const listeners = process.listeners('SIGTERM').map(String);
  if (listeners.length === 0)
    return 'SIGTERM ends this process in the middle of operations, as nothing listens to it: call app.enableShutdownHooks()';
  if (!listeners.some((source) => EXITS.test(source) && !CLOSES.test(source))) return undefined;
  return (
    'SIGTERM ends this process in the middle of operations, as a listener calls process.exit() and does not wait for the application: ' +
    'shut telemetry down in onApplicationShutdown()'
  );
}
