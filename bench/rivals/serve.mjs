// @ts-nocheck the rivals are installed when the bench first runs, not where types are checked
/** A Nest application like that of the library, with one route that does nothing. */
import 'reflect-metadata';
import { Controller, HttpCode, Module, Post, Req } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';

export const { redisPorts } = JSON.parse(process.env.SETTINGS);
export const redisUrl = `redis://127.0.0.1:${redisPorts[0]}`;

/**
 * @param {object} rival
 * @param {object[]} [rival.imports] modules
 * @param {Function} [rival.middleware]
 * @param {MethodDecorator[]} [rival.decorators] on the route
 * @param {(request: object) => unknown} [rival.handle]
 */
export async function serve({ imports = [], middleware, decorators = [], handle = () => ({ status: 'done' }) }) {
  class NothingController {
    nothing(request) {
      return handle(request);
    }
  }
  const route = Object.getOwnPropertyDescriptor(NothingController.prototype, 'nothing');
  for (const decorate of [Post('nothing'), HttpCode(200), ...decorators]) {
    decorate(NothingController.prototype, 'nothing', route);
  }
  Req()(NothingController.prototype, 'nothing', 0);
  Controller()(NothingController);
  class RivalModule {}
  Module({ imports, controllers: [NothingController] })(RivalModule);

  const app = await NestFactory.create(RivalModule, { logger: ['error', 'warn'] });
  if (middleware) app.use('/nothing', middleware);
  await app.listen(0, '127.0.0.1');
  process.on('message', () => process.send({}));
  process.once('disconnect', () => process.exit());
  process.send({ port: Number(new URL(await app.getUrl()).port) });
}
