import type { ValueClasses } from '../engine/value-json.js';
import { graphqlObjectTypes } from '../private-names/nest.js';

/**
 * The classes with `@ObjectType()`, by the names of their types. By default, @nestjs/graphql finds the type of a union or an interface by
 * the class of a value. A replay of plain objects would fail there, although the operation succeeded, and getters would be missing.
 */
export class GraphQLClasses implements ValueClasses {
  private readonly names = new Map<object, string>();
  private readonly prototypes = new Map<string, object | undefined>();

  constructor() {
    for (const { name, target } of graphqlObjectTypes()) {
      const prototype = typeof target === 'function' ? (target.prototype as object) : undefined;
      // The types of two schemas may have one name.
      const isKnown = this.prototypes.has(name) && this.prototypes.get(name) !== prototype;
      this.prototypes.set(name, isKnown ? undefined : prototype);
      if (prototype) this.names.set(prototype, name);
    }
  }

  /** Returns the type of an instance, or that of its nearest base class which has one. */
  nameOf(instance: object): string | undefined {
    let at = Object.getPrototypeOf(instance) as object | null;
    for (; at && at !== Object.prototype; at = Object.getPrototypeOf(at) as object | null) {
      const name = this.names.get(at);
      if (name !== undefined) return name;
    }
    return undefined;
  }

  prototypeOf(name: string): object | undefined {
    return this.prototypes.get(name);
  }
}
