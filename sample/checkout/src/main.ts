import 'reflect-metadata';
import { Logger, ValidationPipe } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module.js';
import { config } from './config.js';

const app = await NestFactory.create(AppModule);
app.useGlobalPipes(
  new ValidationPipe({
    transform: true,
    whitelist: true,
    forbidNonWhitelisted: true,
  }),
);
app.enableShutdownHooks();
await app.listen(config.port);

const protection = config.protection ? 'on' : 'OFF';
new Logger('Shop').log(`open on http://localhost:${config.port}, protection ${protection}`);
