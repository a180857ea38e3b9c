import { Controller, Delete, Get, type INestApplication, Module, Post, Sse } from '@nestjs/common';
import { ApiConflictResponse, DocumentBuilder, type OpenAPIObject } from '@nestjs/swagger';
import { Test } from '@nestjs/testing';
import { TypeOrmModule } from '@nestjs/typeorm';
import { EMPTY } from 'rxjs';
import { Idempotent, IdempotencyModule, IdempotencyService, NotIdempotent } from '../../../lib/index.js';
import { createDocument } from '../../../lib/integrations/swagger/index.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';

@Controller('orders')
@Idempotent({ retention: '7d' })
class OrdersController {
  @Post()
  @ApiConflictResponse({ description: 'out of stock' })
  create() {
    return {};
  }

  @Post('quote')
  @NotIdempotent()
  quote() {
    return {};
  }

  @Delete(':id')
  @Idempotent({ required: false, onConflict: 'wait', waitTimeout: '5s', afterCrash: 'hold' })
  remove() {
    return {};
  }

  @Get()
  list() {
    return [];
  }

  @Sse('feed')
  feed() {
    return EMPTY;
  }
}

@Controller('webhooks')
class WebhooksController {
  @Post()
  @Idempotent({ key: () => 'from the body', scope: () => 'provider', fingerprint: false })
  receive() {
    return {};
  }
}

describe('the policy, and OpenAPI', () => {
  let database: TestDatabase;
  let app: INestApplication;
  let document: OpenAPIObject;

  beforeAll(async () => {
    database = await createDatabase('better-sqlite3');
    @Module({
      imports: [
        TypeOrmModule.forRoot({ ...database.options, autoLoadEntities: true, synchronize: true }),
        IdempotencyModule.forRoot({ documentation: 'https://docs.example/idempotency', keyFormat: { maxLength: 64 } }),
      ],
      controllers: [OrdersController, WebhooksController],
    })
    class App {}
    app = (await Test.createTestingModule({ imports: [App] }).compile()).createNestApplication({ logger: false });
    await app.init();
    createDocument(app, new DocumentBuilder().build());
    document = createDocument(app, new DocumentBuilder().build());
  });

  afterAll(async () => {
    await app?.close();
    await database?.drop();
  });

  test('policy() lists every idempotent operation', () => {
    const policy = app.get(IdempotencyService).policy();
    expect(policy).toMatchObject({
      header: 'Idempotency-Key',
      key: { minLength: 1, maxLength: 64, pattern: '^[\\x21-\\x7e]+$' },
      documentation: 'https://docs.example/idempotency',
    });
    expect(
      policy.operations.map(({ handler, required, retentionSeconds }) => [handler, required, retentionSeconds]),
    ).toEqual([
      ['OrdersController.create', true, 7 * 86_400],
      ['OrdersController.remove', false, 7 * 86_400],
      ['WebhooksController.receive', true, 86_400],
    ]);
    const [create, remove, receive] = policy.operations;
    expect(create).toMatchObject({ onConflict: 'reject', afterCrash: 'rerun' });
    expect(remove).toMatchObject({ onConflict: 'wait', waitSeconds: 5, afterCrash: 'hold' });
    // Under `afterCrash: 'rerun'` as well, after `maxAttempts` or an unknown step: a client generated from the document meets the code.
    for (const { problems } of policy.operations) expect(problems).toContain('outcome-unknown');
    expect(remove.problems).not.toContain('key-missing');
    expect(receive.problems).not.toContain('key-reused');
    expect(receive.problems).not.toContain('key-foreign');
    expect(JSON.parse(JSON.stringify(policy))).toEqual(policy);
  });

  test('the header, once, where the key comes from it', () => {
    const parameters = document.paths['/orders'].post!.parameters;
    expect(parameters).toMatchObject([
      {
        in: 'header',
        name: 'Idempotency-Key',
        required: true,
        schema: { type: 'string', minLength: 1, maxLength: 64 },
      },
    ]);
    expect(JSON.stringify(parameters)).toContain('for 7 d after');
    const removing = document.paths['/orders/{id}'].delete!.parameters!;
    expect(removing.filter((one) => 'in' in one && one.in === 'header')).toMatchObject([{ required: false }]);
    expect(document.paths['/webhooks'].post!.parameters).toEqual([]);
  });

  test('the problem responses, beside those of the handler', () => {
    const { responses } = document.paths['/orders'].post! as { responses: Record<string, { description: string }> };
    expect(Object.keys(responses).sort()).toEqual(['400', '409', '422', '503']);
    expect(responses['409'].description).toBe('out of stock');
    expect(responses['422']).toMatchObject({
      description: 'Idempotency: key-reused, key-foreign',
      content: {
        'application/problem+json': {
          schema: { properties: { code: { enum: ['key-reused', 'key-foreign'] }, status: { enum: [422] } } },
        },
      },
    });
    expect(responses['503']).toMatchObject({ headers: { 'Retry-After': { schema: { type: 'integer' } } } });
    expect(Object.keys(document.paths['/webhooks'].post!.responses)).toEqual(['201', '400', '409', '503']);
    expect(document.paths['/orders'].post).toMatchObject({ 'x-idempotency': { retentionSeconds: 7 * 86_400 } });
  });

  test('the header that marks replays, on successes', () => {
    const responses = document.paths['/webhooks'].post!.responses as Record<string, { headers?: object }>;
    expect(responses['201'].headers).toEqual({
      'Idempotent-Replayed': { description: expect.any(String) as string, schema: { type: 'string', enum: ['true'] } },
    });
    expect(responses['400'].headers).toBeUndefined();
    const { responses: others } = document.paths['/orders/quote'].post! as { responses: Record<string, object> };
    expect(others['201']).not.toHaveProperty('headers');
  });

  test('nothing where nothing is idempotent', () => {
    for (const operation of [document.paths['/orders'].get!, document.paths['/orders/quote'].post!]) {
      expect(operation.parameters).toEqual([]);
      expect(Object.keys(operation.responses)).not.toContain('422');
    }
  });
});
