/** https://docs.nestjs.com/techniques/validation and /techniques/serialization */
import assert from 'node:assert/strict';
import {
  Body,
  ClassSerializerInterceptor,
  Controller,
  Post,
  UnprocessableEntityException,
  ValidationPipe,
} from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { Exclude, Expose, Type } from 'class-transformer';
import { IsEmail, IsInt, IsNotEmpty, Min } from 'class-validator';
import { application, Effects } from '../harness.js';

class CreateUserDto {
  @IsEmail() email!: string;
  @IsNotEmpty() password!: string;
  @Type(() => Number) @IsInt() @Min(0) age!: number;
}

class UserEntity {
  id!: number;
  email!: string;
  @Exclude() password!: string;
  age!: number;

  constructor(partial: Partial<UserEntity>) {
    Object.assign(this, partial);
  }

  @Expose()
  get isAdult(): boolean {
    return this.age >= 18;
  }
}

export default application({
  name: 'class-validator and class-transformer',
  build: ({ Idempotent }) => {
    @Controller('users')
    class UsersController {
      constructor(private readonly effects: Effects) {}

      @Post()
      @Idempotent()
      async create(@Body() user: CreateUserDto) {
        if (user.age < 1) throw new UnprocessableEntityException('too young');
        const { email, password, age } = user;
        return new UserEntity({ id: await this.effects.add(), email, password, age });
      }
    }
    @Controller('strict')
    class StrictController {
      constructor(private readonly effects: Effects) {}

      @Post()
      @Idempotent()
      async create(@Body(new ValidationPipe({ errorHttpStatusCode: 422 })) user: CreateUserDto) {
        return { id: await this.effects.add(), email: user.email };
      }
    }
    return { controllers: [UsersController, StrictController] };
  },
  setup: (app) => {
    app.useGlobalPipes(new ValidationPipe({ whitelist: true, forbidNonWhitelisted: true, transform: true }));
    app.useGlobalInterceptors(new ClassSerializerInterceptor(app.get(Reflector)));
  },
  exchanges: [
    {
      name: 'create',
      request: { path: '/users', body: { email: 'a@b.example', password: 's', age: '20' } },
      status: 201,
    },
    {
      name: 'too young',
      request: { path: '/users', body: { email: 'a@b.example', password: 's', age: 0 } },
      status: 422,
    },
    {
      name: 'a body that is invalid, answered with 422',
      request: { path: '/strict', body: { email: 'none', password: 's', age: 20 } },
      status: 400,
      retry: 'rerun',
    },
    {
      name: 'a body that is invalid',
      request: { path: '/users', body: { email: 'none', admin: true } },
      status: 400,
      retry: 'rerun',
      check: async (client, request) => {
        const body = { email: 'a@b.example', password: 's', age: 20 };
        assert.equal((await client.send({ ...request, body })).status, 201, 'a corrected request runs');
      },
    },
  ],
});
