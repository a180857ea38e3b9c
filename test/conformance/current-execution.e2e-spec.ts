import { randomUUID } from 'node:crypto';
import { Body, ConflictException, Controller, type PipeTransform, Post, Res, Scope } from '@nestjs/common';
import {
  type Execution,
  Idempotent,
  IdempotencyKey,
  IdempotencyService,
  IdempotentExecution,
} from '../../lib/index.js';
import { type AppSettings, type Platform, PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { isReplay } from './support/cases.js';
import { type RawAnswer, send } from './support/raw-http.js';

/** What the handlers ask for the current execution: as got from the application, since nothing is to inject it. */
let service: Pick<IdempotencyService, 'currentExecution'>;
let runs = 0;

/** Counts, and fails with what is stored only of a handler that began. */
function fail(received: unknown): never {
  runs++;
  throw new ConflictException({ run: runs, received });
}

class Base {
  @Idempotent()
  @Post('inherited')
  inherited(...args: unknown[]) {
    fail(args);
  }
}

@Controller('received')
class ReceivedController extends Base {
  @Idempotent()
  @Post('nothing')
  nothing(...args: unknown[]) {
    fail(args);
  }

  @Post('below')
  @Idempotent()
  below(@Body('text') text: string, ...more: unknown[]) {
    fail([text, more]);
  }

  @Idempotent()
  @Post('default')
  withDefault(@Body('text') text: string, more = 'default') {
    fail([text, more]);
  }

  @Idempotent()
  @Post('execution')
  execution(@IdempotentExecution() execution: Execution, @IdempotencyKey() key: string) {
    fail([execution.attempt, execution.key === key]);
  }

  @Idempotent()
  @Post('native')
  native(@Res() response: { status: (code: number) => { send: (body: unknown) => void } }, ...more: unknown[]) {
    runs++;
    response.status(409).send({ run: runs, received: more });
  }

  @Idempotent()
  @Post('optional')
  current() {
    fail(service.currentExecution()?.attempt);
  }

  @Idempotent({ required: false })
  @Post('without')
  without(@Body('text') text: string, ...more: unknown[]) {
    fail([text, more]);
  }
}

/** Its methods get it as well, though two of them have the same function. */
@Idempotent()
@Controller('class')
class ReceivedClass extends Base {
  @Post('own')
  own(...args: unknown[]) {
    fail(args);
  }
}

@Controller({ path: 'per-request', scope: Scope.REQUEST })
class ReceivedPerRequest {
  @Idempotent()
  @Post()
  once(...args: unknown[]) {
    fail(args);
  }
}

/** As of a decorator that wraps what it stands at: the class that Nest knows is not the one its prototype names. */
const wrapped = (): ClassDecorator => (target) => new Proxy(target, {});

@Controller('wrapped')
@wrapped()
class WrappedController {
  @Idempotent()
  @Post()
  once(...args: unknown[]) {
    fail(args);
  }
}

/** As sanitizers of inputs do with what is no object of theirs. */
class CloningPipe implements PipeTransform {
  transform(value: unknown): unknown {
    return typeof value === 'object' ? value : structuredClone(value);
  }
}

function contentOf({ body }: RawAnswer) {
  return JSON.parse(body.toString()) as { readonly received: unknown };
}

const controllers = [ReceivedController, ReceivedClass, ReceivedPerRequest];

describe.each(PLATFORMS)('handlers get their execution, on %s', (platform) => {
  async function withApp(settings: AppSettings, work: (app: RunningApp) => Promise<void>) {
    const app = await startApp(platform as Platform, settings);
    service = app.app.get(IdempotencyService);
    try {
      await work(app);
    } finally {
      await app.close();
    }
  }

  /** Asks twice, and returns what the handler received; its failure is kept only if it was noticed to have begun. */
  async function received(app: RunningApp, path: string) {
    const request = { path, key: randomUUID(), body: { text: 'text' } };
    const before = runs;
    const first = await send(app.port, request);
    const second = await send(app.port, request);
    expect([first.status, second.status, isReplay(second), runs - before]).toEqual([409, 409, true, 1]);
    expect(second.body.equals(first.body)).toBe(true);
    return contentOf(first).received;
  }

  const CASES = [
    ['/received/nothing', []],
    ['/received/below', ['text', []]],
    ['/received/default', ['text', 'default']],
    ['/received/execution', [1, true]],
    ['/received/native', []],
    ['/received/inherited', []],
    ['/class/inherited', []],
    ['/class/own', []],
    ['/per-request', []],
  ] as const;

  test.each([
    ['with no pipe', { controllers }],
    [
      'behind a pipe for all arguments',
      { controllers, configure: (app) => void app.useGlobalPipes(new CloningPipe()) },
    ],
  ] satisfies [string, AppSettings][])('%s, and see no other arguments than their own', async (_, settings) => {
    await withApp(settings, async (app) => {
      const seen = [];
      for (const [path] of CASES) seen.push([path, await received(app, path)]);
      expect(seen).toEqual(CASES);
    });
  });

  test('in a class that another stands for', async () => {
    await withApp({ controllers: [WrappedController] }, async (app) => {
      expect(await received(app, '/wrapped')).toEqual([]);
    });
  });

  test('a request without a key passes with no other arguments than its own', async () => {
    await withApp({ controllers }, async (app) => {
      const answer = await send(app.port, { path: '/received/without', body: { text: 'text' } });
      expect(contentOf(answer)).toMatchObject({ received: ['text', []] });
    });
  });

  test('currentExecution() finds it, and nothing outside of a handler', async () => {
    await withApp({ controllers }, async (app) => {
      expect(await received(app, '/received/optional')).toBe(1);
      expect(service.currentExecution()).toBeUndefined();
    });
  });
});
