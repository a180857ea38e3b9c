import { createGunzip } from 'node:zlib';
import type { IncomingMessage } from 'node:http';
import multipartPlugin from '@fastify/multipart';
import type { NestExpressApplication } from '@nestjs/platform-express';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { Platform, TestApplication } from './app.js';

/** The same bodies are parsed on both platforms: text, forms, `application/x-parsed` as bytes; octets stay a stream. */
export async function useParsers(app: TestApplication, platform: Platform): Promise<void> {
  if (platform === 'express') {
    const express = app as NestExpressApplication;
    express.useBodyParser('text');
    express.useBodyParser('raw', { type: 'application/x-parsed' });
    return;
  }
  const fastify = app as NestFastifyApplication;
  await fastify.register(multipartPlugin as never);
  const instance = fastify.getHttpAdapter().getInstance();
  instance.addContentTypeParser(
    ['application/octet-stream', 'application/x-other'],
    (_request: unknown, payload: IncomingMessage, done: Done) => done(null, payload),
  );
  instance.addContentTypeParser('application/x-parsed', { parseAs: 'buffer' }, ((
    _request: unknown,
    payload: Buffer,
    done: Done,
  ) => done(null, payload)) as never);
  // Fastify leaves coded bodies to plugins.
  instance.addHook('preParsing', (request, _reply, payload, done) => {
    if (request.headers['content-encoding'] !== 'gzip') return done(null, payload);
    const plain = Object.assign(payload.pipe(createGunzip()), { receivedEncodedLength: 0 });
    delete request.headers['content-length'];
    done(null, plain as never);
  });
}

type Done = (error: Error | null, body?: unknown) => void;
