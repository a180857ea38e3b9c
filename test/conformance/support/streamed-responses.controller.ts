import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ConflictException, Controller, Header, Post, Res, StreamableFile } from '@nestjs/common';
import { type Execution, Idempotent, IdempotentExecution } from '../../../lib/index.js';
import { until } from '../../support/until.js';
import { ran } from './cases.js';

interface RawResponse extends NodeJS.WritableStream {
  setHeader(name: string, value: string): void;
  flushHeaders(): void;
}
interface Reply extends RawResponse {
  readonly raw?: RawResponse;
  hijack?(): void;
}

/** Lets the handler go on from one line to the next. */
export const gate = new EventEmitter();
export const progress = {
  written: 0,
  /** How many sources were read to their end. */
  whole: 0,
};

export const goOn = async (to: number) => {
  await until(() => gate.listenerCount('next') > 0);
  gate.emit('next');
  await until(() => progress.written === to);
};

async function* lines(count = 3) {
  for (let i = 0; i < count; i++) {
    if (i > 0) await once(gate, 'next');
    progress.written++;
    yield `line ${i}\n`;
  }
  progress.whole++;
}

function webStream(): ReadableStream {
  const source = lines();
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await source.next();
      if (done) controller.close();
      else controller.enqueue(Buffer.from(value));
    },
    async cancel() {
      await source.return();
    },
  });
}

function rawOf(reply: Reply): RawResponse {
  reply.hijack?.();
  return reply.raw ?? reply;
}

async function write(response: RawResponse): Promise<void> {
  for await (const line of lines()) response.write(line);
  response.end();
}

const STREAM = { response: { stream: true } } as const;

@Controller('streams')
export class StreamedResponsesController {
  @Post('native')
  @Idempotent(STREAM)
  async native(@Res() reply: Reply) {
    ran();
    await write(rawOf(reply));
  }

  @Post('flushed')
  @Idempotent(STREAM)
  flushed(@Res() reply: Reply) {
    ran();
    const response = rawOf(reply);
    response.flushHeaders();
    void write(response);
  }

  @Post('file')
  @Idempotent(STREAM)
  file() {
    ran();
    return new StreamableFile(Readable.from(lines()), { type: 'text/plain' });
  }

  @Post('bytes')
  @Idempotent(STREAM)
  bytes() {
    ran();
    return new StreamableFile(Readable.from(lines(), { objectMode: false }));
  }

  @Post('readable')
  @Idempotent(STREAM)
  readable() {
    ran();
    return Readable.from(lines());
  }

  @Post('web-stream')
  @Idempotent(STREAM)
  webStream() {
    ran();
    return webStream();
  }

  @Post('web-response')
  @Idempotent(STREAM)
  webResponse() {
    ran();
    return new Response(webStream(), { status: 201 });
  }

  @Post('piped')
  @Idempotent(STREAM)
  piped(@Res() reply: Reply) {
    ran();
    Readable.from(lines()).pipe(rawOf(reply));
  }

  @Post('pipeline')
  @Idempotent(STREAM)
  async pipeline(@Res() reply: Reply) {
    ran();
    await pipeline(Readable.from(lines()), rawOf(reply));
  }

  @Post('at-once')
  @Idempotent(STREAM)
  atOnce() {
    ran();
    return { id: randomUUID() };
  }

  @Post('refused')
  @Idempotent(STREAM)
  refused() {
    ran();
    throw new ConflictException(randomUUID());
  }

  @Post('failing')
  @Idempotent(STREAM)
  failing() {
    ran();
    throw new Error('before the first byte');
  }

  @Post('late')
  @Idempotent(STREAM)
  late() {
    ran();
    const late = async function* () {
      await once(gate, 'next');
      yield* lines(1);
    };
    return new StreamableFile(Readable.from(late()));
  }

  @Post('breaking')
  @Idempotent(STREAM)
  async breaking(@Res() reply: Reply) {
    ran();
    rawOf(reply).write('line 0\n');
    await once(gate, 'next');
    throw new Error('after the first byte');
  }

  @Post('failing-file')
  @Idempotent(STREAM)
  failingFile() {
    ran();
    const breaking = async function* () {
      yield 'line 0\n';
      await once(gate, 'next');
      throw new Error('after the first byte');
    };
    return new StreamableFile(Readable.from(breaking()));
  }

  @Post('silent')
  @Idempotent({ ...STREAM, lease: '1s', afterCrash: 'hold' })
  silent(@Res() reply: Reply) {
    ran();
    rawOf(reply).write('line 0\n');
  }

  @Post('transactional')
  @Idempotent({ ...STREAM, transactional: true })
  async transactional(@Res() reply: Reply, @IdempotentExecution() execution: Execution) {
    ran();
    await execution.manager.query('SELECT 1');
    await write(rawOf(reply));
  }

  @Post('undecided-flush')
  @Idempotent()
  undecidedFlush(@Res() reply: Reply) {
    ran();
    const response = rawOf(reply);
    response.flushHeaders();
    void write(response);
  }

  @Post('undecided-type')
  @Header('Content-Type', 'application/x-ndjson; charset=utf-8')
  @Idempotent()
  undecidedType(@Res() reply: Reply) {
    ran();
    const response = rawOf(reply);
    response.setHeader('Content-Type', 'application/x-ndjson; charset=utf-8');
    void write(response);
  }

  @Post('short')
  @Header('Content-Type', 'application/x-ndjson')
  @Idempotent()
  short() {
    ran();
    return new StreamableFile(Readable.from(['{"a":1}\n', '{"a":2}\n']), { type: 'application/x-ndjson' });
  }

  @Post('held')
  @Idempotent({ response: { stream: false } })
  held(@Res() reply: Reply) {
    ran();
    const response = rawOf(reply);
    response.setHeader('Content-Type', 'application/x-ndjson');
    response.flushHeaders();
    void write(response);
  }
}
