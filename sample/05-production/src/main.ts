import { ValidationPipe } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import helmet from 'helmet';
import { Logger } from 'nestjs-pino';
import { AppModule } from './app.module.js';
import { config } from './config.js';

const app = await NestFactory.create<NestExpressApplication>(AppModule, { bufferLogs: true });
app.useLogger(app.get(Logger));
app.use(helmet());
app.useBodyParser('json', { limit: '32kb' });
app.useGlobalPipes(new ValidationPipe({ transform: true, whitelist: true, forbidNonWhitelisted: true }));
// Without these, each deploy is a crash to the requests that it meets. The first process of a container ignores a signal
// that it sends to itself, which is how Nest ends otherwise.
app.enableShutdownHooks([], { useProcessExit: true });

const server = await app.listen(config.PORT);
server.headersTimeout = 10_000;
server.requestTimeout = 30_000;
// Longer than the load balancer keeps an idle connection (60 s), so that it never sends a request into one that ends here.
server.keepAliveTimeout = 65_000;
