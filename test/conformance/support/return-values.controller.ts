import { createReadStream, writeFileSync } from 'node:fs';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Controller,
  Header,
  HttpCode,
  type INestApplication,
  type NestInterceptor,
  Patch,
  Post,
  Put,
  Redirect,
  Render,
  SerializeOptions,
  StreamableFile,
  UseInterceptors,
  ClassSerializerInterceptor,
  Delete,
} from '@nestjs/common';
import { Exclude, Expose } from 'class-transformer';
import { delay, EMPTY, from, map, of, throwError, timer } from 'rxjs';
import { Idempotent } from '../../../lib/index.js';
import { ran } from './cases.js';

const file = join(mkdtempSync(join(process.env.TEST_FOLDER ?? tmpdir(), 'idempotency-file-')), 'a.txt');
writeFileSync(file, 'from a file\n'.repeat(1_000));

let serial = 0;
/** Something that no two runs have in common. */
const fresh = () => `run ${++serial}`;

class Account {
  id = fresh();
  @Exclude() password = 'secret';
  @Expose({ name: 'label' }) name = 'Ann';
  constructor(readonly nested?: Account) {}
}

const unreadable = () => ({
  get status(): string {
    throw new Error('the order is not loaded');
  },
});
/** As objects that refuse names which they do not know. */
const strict = () =>
  new Proxy({ id: 1 } as Record<string, unknown>, {
    get(target, name) {
      if (name in target || typeof name === 'symbol' || name === 'then') return Reflect.get(target, name) as unknown;
      throw new TypeError(`there is no ${name}`);
    },
  });
const copies: NestInterceptor = {
  intercept: (_context, next) => next.handle().pipe(map((value) => ({ ...(value as object) }))),
};

class ThenableQuery {
  // oxlint-disable-next-line unicorn/no-thenable -- as query builders have it
  then(resolve: (value: unknown) => void): void {
    ran();
    resolve({ rows: fresh() });
  }
}

/** Every kind of thing that handlers return. */
@Controller('results')
@Idempotent()
export class ReturnValuesController {
  @Post('object')
  object() {
    ran();
    return { id: fresh(), nested: { list: [1, 'two', null] }, empty: {}, text: 'ünï ☃ 𝒳' };
  }

  @Post('serialized')
  @UseInterceptors(ClassSerializerInterceptor)
  serialized() {
    ran();
    return new Account(new Account());
  }

  @Post('serialized-groups')
  @UseInterceptors(ClassSerializerInterceptor)
  @SerializeOptions({ strategy: 'excludeAll' })
  serializedGroups() {
    ran();
    return [new Account(), new Account()];
  }

  @Post('array')
  array() {
    ran();
    return [fresh(), 2, { three: 3 }];
  }

  @Post('string')
  string() {
    ran();
    return fresh();
  }

  @Post('empty-string')
  emptyString() {
    ran();
    return '';
  }

  @Post('number')
  number() {
    ran();
    return 42;
  }

  @Post('zero')
  zero() {
    ran();
    return 0;
  }

  @Post('true')
  yes() {
    ran();
    return true;
  }

  @Post('false')
  no() {
    ran();
    return false;
  }

  @Post('null')
  null() {
    ran();
    return null;
  }

  @Post('undefined')
  undefined() {
    ran();
  }

  @Post('date')
  date() {
    ran();
    return { at: new Date(), json: { toJSON: () => fresh() } };
  }

  @Post('buffer')
  buffer() {
    ran();
    return Buffer.from([0, 1, 2, 127, 128, 254, 255]);
  }

  @Post('typed-array')
  typedArray() {
    ran();
    return new Uint8Array([1, 2, 255]);
  }

  @Post('octets')
  @Header('Content-Type', 'application/octet-stream')
  octets() {
    ran();
    return new StreamableFile(Uint8Array.from({ length: 4_096 }, (_, at) => at % 256));
  }

  @Post('file-of-buffer')
  fileOfBuffer() {
    ran();
    return new StreamableFile(Buffer.from(`name,${fresh()}\n`), { type: 'text/csv', disposition: 'attachment' });
  }

  @Post('file-of-file')
  fileOfFile() {
    ran();
    return new StreamableFile(createReadStream(file), { length: 12_000 });
  }

  @Post('file-missing')
  fileMissing() {
    ran();
    return new StreamableFile(createReadStream(join(file, 'missing')));
  }

  @Post('promise')
  async promise() {
    ran();
    await Promise.resolve();
    return { id: fresh() };
  }

  @Post('thenable')
  thenable() {
    return new ThenableQuery();
  }

  @Post('observable')
  observable() {
    ran();
    return of({ id: fresh() }).pipe(delay(5));
  }

  @Post('observables')
  observables() {
    ran();
    return from([1, 2, 3]).pipe(map((n) => ({ n, id: fresh() })));
  }

  @Post('promised-observable')
  promisedObservable() {
    ran();
    return Promise.resolve(timer(5).pipe(map(() => ({ id: fresh() }))));
  }

  @Post('observable-error')
  observableError() {
    ran();
    return throwError(() => new Error('from an observable'));
  }

  @Post('observable-empty')
  observableEmpty() {
    ran();
    return EMPTY;
  }

  @Post('redirect')
  @Redirect('/results/elsewhere', 307)
  redirect() {
    ran();
  }

  @Post('redirect-dynamic')
  @Redirect('/nowhere')
  redirectDynamic() {
    ran();
    return { url: `/orders/${++serial}`, statusCode: 303 };
  }

  @Post('view')
  @Render('greeting')
  view() {
    ran();
    return { name: fresh() };
  }

  @Post('no-content')
  @HttpCode(204)
  noContent() {
    ran();
  }

  @Put('put')
  put() {
    ran();
    return fresh();
  }

  @Patch('patch')
  @HttpCode(202)
  patch() {
    ran();
    return fresh();
  }

  @Delete('delete')
  delete() {
    ran();
    return { deleted: fresh() };
  }

  @Post('header')
  @Header('Cache-Control', 'no-store')
  @Header('X-Custom-Case', 'as it is')
  @Header('Link', '</a>; rel="next"')
  header() {
    ran();
    return { id: fresh() };
  }

  @Post('bigint')
  bigint() {
    ran();
    return { amount: 10n };
  }

  // The first member decides whether a value is work for an interceptor. To read it failed the handler, and freed the key.
  @Post('unreadable')
  unreadable() {
    ran();
    return unreadable();
  }

  @Post('strict')
  strict() {
    ran();
    return strict();
  }

  // Read once more, when nothing handled what that threw: the process ended.
  @Post('unreadable-inside')
  @UseInterceptors(copies)
  unreadableInside() {
    ran();
    return unreadable();
  }

  @Post('circular')
  circular() {
    ran();
    const value: { self?: unknown } = {};
    value.self = value;
    return value;
  }

  @Post('large')
  large() {
    ran();
    return { id: fresh(), text: 'x'.repeat(300_000) };
  }
}

/** What views were made of. */
export const rendered: unknown[] = [];

/** A view engine, as simple as it gets. */
export function useViews(app: INestApplication, platform: 'express' | 'fastify'): void {
  const render = (data: { name: string }) => {
    rendered.push(data.name);
    return `<p>Hello, ${data.name}</p>`;
  };
  if (platform === 'express') {
    const folder = mkdtempSync(join(process.env.TEST_FOLDER ?? tmpdir(), 'idempotency-views-'));
    writeFileSync(join(folder, 'greeting.html'), '');
    const express = app.getHttpAdapter().getInstance() as {
      engine(
        name: string,
        engine: (path: string, data: never, done: (error: null, text: string) => void) => void,
      ): void;
      set(name: string, value: unknown): void;
    };
    express.engine('html', (_path, data, done) => done(null, render(data)));
    express.set('views', folder);
    express.set('view engine', 'html');
  } else {
    const fastify = app.getHttpAdapter().getInstance() as {
      decorateReply(name: string, value: (this: Reply, view: string, data: { name: string }) => unknown): void;
    };
    fastify.decorateReply('view', function (_view, data) {
      return this.type('text/html; charset=utf-8').send(render(data));
    });
  }
}

interface Reply {
  type(name: string): Reply;
  send(payload: string): unknown;
}
