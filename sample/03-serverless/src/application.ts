import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { AppModule } from './app.module.js';

let application: Promise<NestFastifyApplication> | undefined;

/** Started by the first event that an instance gets, and kept for the next ones. */
export function cachedApplication(): Promise<NestFastifyApplication> {
  application ??= start();
  return application;
}

async function start(): Promise<NestFastifyApplication> {
  const app = await NestFactory.create<NestFastifyApplication>(AppModule, new FastifyAdapter(), {
    logger: ['warn', 'error'],
  });
  await app.init();
  await app.getHttpAdapter().getInstance().ready();
  return app;
}
