import { Idempotent, type IdempotentOptions, IdempotencyModule } from '../../../lib/index.js';
import { IdempotencyOptionError } from '../../../lib/options/option-error.js';

class Orders {
  pay() {}
}

const onMethod = (options: IdempotentOptions) =>
  Idempotent(options)(Orders.prototype, 'pay', Object.getOwnPropertyDescriptor(Orders.prototype, 'pay')!);

describe('The name of an operation', () => {
  test.each(['orders.pay', 'p', 'POST /orders/:id/pay', 'заказы', '💸', 'x'.repeat(255)])('may be %j', (operation) => {
    expect(() => onMethod({ operation })).not.toThrow();
  });

  test.each([
    ['empty', ''],
    ['blank', '  '],
    ['too long', 'x'.repeat(256)],
    ['no text', 7],
    ['null', null],
    ['with U+0000', 'orders\0pay'],
    ['with a control character', 'orders\npay'],
    ['with half a surrogate pair', 'orders\ud83d'],
    ['with the other half', '\udcb8orders'],
  ])('is refused: %s', (_, operation) => {
    expect(() => onMethod({ operation: operation as string })).toThrow(IdempotencyOptionError);
    expect(() => onMethod({ operation: operation as string })).toThrow('option `operation` must');
  });

  test('belongs on one method', () => {
    expect(() => Idempotent({ operation: 'orders.pay' })(Orders)).toThrow(
      'option `operation` names the operation of one',
    );
    expect(() => Idempotent({ shared: true })(Orders)).toThrow('option `shared` goes with `operation`');
    const options = { operation: 'orders.pay' } as object;
    expect(() => IdempotencyModule.forRoot(options)).toThrow('option `operation` names the operation of one');
  });

  test('is what `shared` goes with', () => {
    expect(() => onMethod({ operation: 'orders.pay', shared: true })).not.toThrow();
    expect(() => onMethod({ shared: true })).toThrow('option `shared` goes with `operation`');
    expect(() => onMethod({ operation: 'orders.pay', shared: 'yes' as never })).toThrow('option `shared` must be');
  });
});
