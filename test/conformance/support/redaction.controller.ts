import { gzipSync } from 'node:zlib';
import { Body, Controller, Header, HttpCode, Post, Res } from '@nestjs/common';
import { MessagePattern, Payload } from '@nestjs/microservices';
import { concat, of, throwError } from 'rxjs';
import { Idempotent } from '../../../lib/index.js';
import { ran } from './cases.js';

interface NativeResponse {
  header(name: string, value: string): NativeResponse;
  send(body: unknown): unknown;
}

/** What the tests look for in the database. */
export const SECRET = 'sk_live_';

const minted = () => ({ id: 7, token: SECRET, keys: [{ secret: `${SECRET}a`, name: 'a' }], at: new Date(0) });
const redacting = { response: { redact: ['/token', '/keys/*/secret'] } };

/** Endpoints whose answers hold secrets, and some that restrict what of a request is compared. */
@Controller('redaction')
export class RedactionController {
  @Idempotent({ response: { store: false } })
  @Header('Location', `/keys/${SECRET}`)
  @Post('mint')
  mint() {
    ran();
    return minted();
  }

  @Idempotent({ response: { store: false } })
  @HttpCode(204)
  @Post('mint-nothing')
  mintNothing() {
    ran();
  }

  @Idempotent({ response: { store: false }, transactional: true })
  @Post('mint-transactional')
  mintTransactional() {
    ran();
    return minted();
  }

  @Idempotent(redacting)
  @Post('json')
  json() {
    ran();
    return minted();
  }

  @Idempotent(redacting)
  @Post('other-json')
  otherJson() {
    ran();
    return { id: 7, key: 'public' };
  }

  @Idempotent(redacting)
  @Post('gzipped')
  gzipped(@Res() response: NativeResponse) {
    ran();
    response.header('Content-Type', 'application/vnd.keys+json').header('Content-Encoding', 'gzip');
    response.header('ETag', '"strong"').send(gzipSync(JSON.stringify(minted())));
  }

  @Idempotent(redacting)
  @HttpCode(204)
  @Post('nothing')
  nothing() {
    ran();
  }

  @Idempotent(redacting)
  @Post('text')
  text() {
    ran();
    return `token=${SECRET}`;
  }

  @Idempotent(redacting)
  @Header('Content-Type', 'text/plain')
  @Post('number')
  number() {
    ran();
    return '4111';
  }

  @Idempotent({ request: { redact: ['/pin', '?code'] } })
  @Post('requests')
  requests(@Body() _body: unknown) {
    ran();
    return { ok: true };
  }

  @Idempotent({ fingerprint: { only: ['/items/*/id', '?account'], ignore: ['/items/0'] } })
  @Post('only')
  only(@Body() _body: unknown) {
    ran();
    return { ok: true };
  }

  @Idempotent({ fingerprint: { ignore: ['/items/*/at', '/*/trace', '?trace', '?meta'] } })
  @Post('ignoring')
  ignoring(@Body() _body: unknown) {
    ran();
    return { ok: true };
  }

  @Idempotent({ key: (context) => context.switchToRpc().getData<{ key: string }>().key, ...redacting })
  @MessagePattern('mint')
  mintMessage(@Payload() { how }: { how: string }) {
    ran();
    if (how === 'several') return of({ token: SECRET, n: 1 }, { token: SECRET, n: 2 });
    if (how === 'broken')
      return concat(
        of({ token: SECRET }),
        throwError(() => new Error(how)),
      );
    return how === 'text' ? SECRET : minted();
  }

  @Idempotent({
    key: (context) => context.switchToRpc().getData<{ key: string }>().key,
    response: { store: false },
    request: { redact: ['/cards/*/number'] },
    fingerprint: { ignore: ['/cards/*/sentAt'] },
  })
  @MessagePattern('mint-unstored')
  mintUnstored(@Payload() _payload: unknown) {
    ran();
    return minted();
  }
}
