/** One of the applications of the pages about other ORMs, named by its folder. It stops before it records an outcome, if its environment says so. */
import 'reflect-metadata';
import { Module, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { IdempotencyFaults, IdempotencyFaultsModule } from 'nestjs-idempotency/testing';

const { APPLICATION, HOLD } = process.env;
const { AppModule } = (await import(`./${APPLICATION}/app.module.js`)) as { AppModule: Type };
const { ProbesController } = (await import(`./${APPLICATION}/probes.controller.js`)) as { ProbesController: Type };

@Module({ imports: [AppModule, IdempotencyFaultsModule], controllers: [ProbesController] })
class TestedModule {}

const app = await NestFactory.create(TestedModule, { logger: ['error', 'warn'], abortOnError: false });
await app.listen(0, '127.0.0.1');
if (HOLD) {
  const hold = () => {
    process.send!({ written: true });
    return new Promise<never>(() => {});
  };
  app.get(IdempotencyFaults).at('before complete', hold, { times: Number(HOLD) });
}
process.send!({ port: Number(new URL(await app.getUrl()).port) });
process.once('disconnect', () => process.exit(1));
