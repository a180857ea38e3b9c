import type { INestApplication, Type } from '@nestjs/common';
import { ValidationPipe } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';

/** The shop as an application, ready to listen. */
export async function createShop(module: Type): Promise<INestApplication> {
  const app = await NestFactory.create(module);
  configureShop(app);
  app.enableShutdownHooks();
  return app;
}

/** What an application needs beyond its modules: for `createShop`, and for tests that build their own. */
export function configureShop(app: INestApplication): void {
  app.useGlobalPipes(
    new ValidationPipe({
      transform: true,
      whitelist: true,
      forbidNonWhitelisted: true,
    }),
  );
}
