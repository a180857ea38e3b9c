import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { faultOfSignals } from '../../../lib/module/shutdown-signals.js';

const sdk = { shutdown: async () => undefined };
const app = { close: async () => undefined };
const report = (text: string) => text;

@Module({})
class AppModule {}

describe('SIGTERM', () => {
  // Jest's own, if any.
  const others = process.listeners('SIGTERM');

  beforeEach(() => process.removeAllListeners('SIGTERM'));
  afterAll(() => {
    process.removeAllListeners('SIGTERM');
    for (const listener of others) process.on('SIGTERM', listener);
  });

  it('without a listener ends the process', () => {
    expect(faultOfSignals()).toContain('nothing listens to it: call app.enableShutdownHooks()');
  });

  it('does not come to AWS Lambda while a handler runs', () => {
    process.env.AWS_LAMBDA_FUNCTION_NAME = 'payments';
    try {
      expect(faultOfSignals()).toBeUndefined();
    } finally {
      delete process.env.AWS_LAMBDA_FUNCTION_NAME;
    }
  });

  it.each<NodeJS.SignalsListener>([
    () => void sdk.shutdown().finally(() => process.exit(0)),
    () =>
      void sdk
        .shutdown()
        .then(() => report('Tracing terminated'))
        .catch((error: unknown) => report(`Error terminating tracing ${String(error)}`))
        .finally(() => process.exit(0)),
    // oxlint-disable-next-line typescript/no-misused-promises -- as applications write it
    async () => {
      await sdk.shutdown();
      process.exit(0);
    },
  ])('with telemetry that calls process.exit() ends the process: %s', (listener) => {
    process.on('SIGTERM', () => undefined);
    process.once('SIGTERM', listener);
    expect(faultOfSignals()).toContain('a listener calls process.exit() and does not wait for the application');
  });

  it.each<NodeJS.SignalsListener>([
    () => void sdk.shutdown(),
    // oxlint-disable-next-line typescript/no-misused-promises -- as applications write it
    async () => {
      await app.close();
      await sdk.shutdown();
      process.exit(0);
    },
  ])('leaves the process to the application: %s', (listener) => {
    process.on('SIGTERM', listener);
    expect(faultOfSignals()).toBeUndefined();
  });

  it.each([{}, { useProcessExit: true }])(
    'with the hooks of Nest ends the process after the application: %j',
    async (options) => {
      const context = await NestFactory.createApplicationContext(AppModule, { logger: false });
      context.enableShutdownHooks(['SIGTERM'], options);
      expect(process.listenerCount('SIGTERM')).toBe(1);
      expect(faultOfSignals()).toBeUndefined();
      await context.close();
    },
  );
});
