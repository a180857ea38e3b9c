import { ConflictException, Controller, Post, type Type } from '@nestjs/common';
import { Effects, type Field } from '../harness.js';

/** For packages that wrap the handler: an operation that succeeds, one that refuses, and one that fails after its effect. */
export function catsController({ Idempotent }: Field, cat: object = {}): Type<object> {
  @Controller('cats')
  class CatsController {
    constructor(private readonly effects: Effects) {}

    @Post()
    @Idempotent()
    async create() {
      return { id: await this.effects.add(), ...cat };
    }

    @Post('taken')
    @Idempotent()
    taken() {
      throw new ConflictException('taken');
    }

    @Post('broken')
    @Idempotent()
    async broken() {
      await this.effects.add();
      throw new Error('after the effect');
    }
  }
  return CatsController;
}
