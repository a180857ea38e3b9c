import { Test } from '@nestjs/testing';
import { Idempotent, IdempotencyModule, IdempotencyOptionError } from '../../../lib/index.js';

test('the module without forRoot()', async () => {
  const compiling = Test.createTestingModule({ imports: [IdempotencyModule] }).compile();
  await expect(compiling).rejects.toThrow(
    'IdempotencyModule is imported without forRoot(). Import IdempotencyModule.forRoot() in the root module',
  );
});

test('a promise of options', () => {
  expect(() => IdempotencyModule.forRoot(Promise.resolve({}) as object)).toThrow(
    'IdempotencyModule.forRoot() takes options, not a promise of them',
  );
});

test('an error of @Idempotent() names the decorator', () => {
  expect(() => Idempotent({ ttl: '24h' } as object)).toThrow('@Idempotent(): option `ttl` does not exist; there are');
  expect(() => Idempotent({ retention: 'a day' as '1d' })).toThrow(
    '@Idempotent(): option `retention` must be milliseconds above zero or text',
  );
  expect(() => Idempotent({ operation: 'pay' })(class Payments {})).toThrow('@Idempotent(): option `operation` names');
  expect(() => Idempotent({ lease: 0 })).toThrow(IdempotencyOptionError);
});
