/**
 * https://docs.nestjs.com/techniques/streaming-files by the response itself. The bytes come over a connection that was there before the
 * request, as from a cursor of a database or a pool of undici: they arrive, and the response ends, outside of the request's async context.
 */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { MessageChannel } from 'node:worker_threads';
import { Controller, Header, HttpStatus, Injectable, type OnApplicationShutdown, Post, Res } from '@nestjs/common';
import type { ServerResponse } from 'node:http';
import { application, Effects } from '../harness.js';

interface Response extends ServerResponse {
  /** Of Fastify. */
  send?(body: Readable): Response;
}

@Injectable()
class Rows implements OnApplicationShutdown {
  private readonly connection = new MessageChannel();
  private readonly cursors: Readable[] = [];

  constructor() {
    const { port1, port2 } = this.connection;
    port2.on('message', (rows: string[]) => {
      for (const row of [...rows, null]) port2.postMessage(row);
    });
    port1.on('message', (row: string | null) => {
      this.cursors[0].push(row);
      if (row === null) this.cursors.shift();
    });
  }

  query(...rows: string[]): Readable {
    const cursor = new Readable({ read: () => undefined });
    this.cursors.push(cursor);
    this.connection.port1.postMessage(rows);
    return cursor;
  }

  onApplicationShutdown(): void {
    this.connection.port1.close();
  }
}

const send = (response: Response, rows: Readable) => (response.send ? response.send(rows) : pipeline(rows, response));

export default application({
  name: 'native streams from a shared connection',
  build: ({ Idempotent }) => {
    @Controller('exports')
    class ExportsController {
      constructor(
        private readonly effects: Effects,
        private readonly rows: Rows,
      ) {}

      @Post()
      @Header('Content-Type', 'text/csv')
      @Idempotent()
      async all(@Res() response: Response) {
        const id = await this.effects.add();
        return send(response, this.rows.query('id\n', `${id}\n`));
      }

      @Post('refused')
      @Header('Content-Type', 'text/csv')
      @Idempotent()
      async refused(@Res() response: Response) {
        response.statusCode = HttpStatus.PAYMENT_REQUIRED;
        return send(response, this.rows.query('unpaid\n'));
      }
    }
    return { controllers: [ExportsController], providers: [Rows] };
  },
  exchanges: [
    { name: 'all', request: { path: '/exports' }, status: 201 },
    { name: 'refused', request: { path: '/exports/refused' }, status: 402 },
  ],
});
