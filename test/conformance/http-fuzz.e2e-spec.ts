import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { Controller, Post } from '@nestjs/common';
import { Idempotent, IdempotencyRecord } from '../../lib/index.js';
import { garbage } from '../fuzz/heads.js';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { codeOf, countRuns, isReplay, ran } from './support/cases.js';
import { RawConnection } from './support/raw-http.js';

/** Whole numbers: fast-check never ends with another one. */
const RUNS = Math.ceil(Number(process.env.FUZZ_RUNS ?? 2_000) / 10);
const SEED = process.env.FUZZ_SEED === undefined ? {} : { seed: Number(process.env.FUZZ_SEED) };

@Controller()
@Idempotent()
class FuzzedController {
  @Post('fuzzed')
  fuzzed() {
    ran();
    return { run: randomUUID() };
  }
}

/** Any byte but those that end the line. */
const byte = fc
  .integer({ min: 1, max: 255 })
  .filter((code) => code !== 0x0a && code !== 0x0d)
  .map((code) => String.fromCharCode(code));
const visible = fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code));
const unique = fc.uuid().map((id) => `${id}-${randomUUID()}`);
const value = fc.oneof(
  fc.string({ unit: byte, maxLength: 300 }),
  fc.string({ unit: visible, maxLength: 300 }),
  fc.string({ unit: fc.constantFrom('"', '\\', ' ', '\t', ';', ',', '=', 'a'), maxLength: 12 }),
  fc.tuple(unique, fc.string({ unit: byte, maxLength: 3 })).map(([id, more]) => `"${id}"${more}`),
  fc.integer({ min: 200, max: 20_000 }).map((length) => 'k'.repeat(length)),
);

/** A status in a row: of a response with a body, a value's, a tombstone's, or none. */
const code = fc.oneof(
  fc.integer({ min: 200, max: 599 }).filter((status) => ![204, 205, 304].includes(status)),
  fc.constantFrom(-1, 0, 1, 99, 100, 101, 199, 1_000, 32_767),
);

describe.each(PLATFORMS)('over the wire, on %s', (platform) => {
  let app: RunningApp;
  let connection: RawConnection;

  beforeAll(async () => {
    app = await startApp(platform, { controllers: [FuzzedController] });
    connection = await RawConnection.open(app.port);
  });
  afterAll(async () => {
    connection?.close();
    await app?.close();
  });

  const post = async (values: readonly string[]) => {
    const lines = values.map((one) => `Idempotency-Key: ${one}\r\n`).join('');
    connection.send(Buffer.from(`POST /fuzzed HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n${lines}\r\n`, 'latin1'));
    const answer = await connection.read();
    // Node and Fastify themselves refuse what is no header, and close.
    if (answer.status !== 201 && codeOf(answer) === undefined) {
      connection.close();
      connection = await RawConnection.open(app.port);
    }
    return answer;
  };

  test(
    'any key header is a sound key and found again, or is refused',
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(value, { minLength: 1, maxLength: 2 }), async (values) => {
          const before = countRuns();
          const first = await post(values);
          if (first.status === 201) {
            expect(values).toHaveLength(1);
            const second = await post(values);
            expect([second.status, isReplay(second), second.body.equals(first.body)]).toEqual([201, true, true]);
            expect(countRuns() - before).toBe(isReplay(first) ? 0 : 1);
          } else {
            expect([400, 431]).toContain(first.status);
            expect([undefined, 'key-invalid']).toContain(codeOf(first));
            expect(countRuns()).toBe(before);
          }
        }),
        { numRuns: RUNS, ...SEED },
      );
    },
    Math.max(30_000, RUNS * 100),
  );

  test(
    'whatever a row contains, a retry gets its answer or an error that it is unreadable, and the next one is answered',
    async () => {
      const records = app.dataSource.getRepository(IdempotencyRecord);
      await fc.assert(
        fc.asyncProperty(
          code,
          fc.option(garbage),
          fc.option(garbage),
          async (responseCode, responseHead, responseBody) => {
            const key = randomUUID();
            await records.clear();
            expect((await post([key])).status).toBe(201);
            await records.update({ status: 'done' }, { responseCode, responseHead, responseBody });
            const before = countRuns();
            const answer = await post([key]);
            if (responseCode === 0) expect([answer.status, codeOf(answer)]).toEqual([409, 'replay-unavailable']);
            else if (!isReplay(answer)) expect([answer.status, codeOf(answer)]).toEqual([500, 'record-unreadable']);
            else expect([answer.status, answer.body]).toEqual([responseCode, responseBody ?? Buffer.alloc(0)]);
            expect(countRuns()).toBe(before);
          },
        ),
        { numRuns: Math.ceil(RUNS / 4), ...SEED },
      );
    },
    Math.max(30_000, RUNS * 100),
  );
});
