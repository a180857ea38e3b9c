import { SetMetadata } from '@nestjs/common';
import { isWatched, watchMethods } from '../../../lib/handlers/watch-handler.js';

/** Wraps a method as decorators do that let the wrapper inherit what others have put at the method. */
const Traced: MethodDecorator = (_target, _name, descriptor: PropertyDescriptor) => {
  const original = descriptor.value as (...args: unknown[]) => unknown;
  const wrapper = function (this: unknown, ...args: unknown[]): unknown {
    return original.apply(this, args);
  };
  descriptor.value = Object.setPrototypeOf(wrapper, original);
};

class Orders {
  @Traced
  @SetMetadata('path', '/')
  place() {}

  helper() {}
}

// A time-out freed the key while the handler ran: under `@Idempotent()` at the class, it did not look like one.
test('a method that inherits its metadata is watched', () => {
  watchMethods(Orders.prototype);
  const watched = Object.entries(Object.getOwnPropertyDescriptors(Orders.prototype)).filter(([, { value }]) =>
    isWatched(value),
  );
  expect(watched.map(([name]) => name)).toEqual(['place']);
  expect(Reflect.getMetadata('path', watched[0][1].value as object)).toBe('/');
});
