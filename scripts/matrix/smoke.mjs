/**
 * The program that `npm run matrix` runs in each place: an application with one operation, asked for the first time, again,
 * and with another payload. No decorators, so that it runs as it is.
 *
 * @param {'esm' | 'cjs'} format
 */
export function smoke(format) {
  const load = (/** @type {string} */ names, /** @type {string} */ from) =>
    format === 'esm' ? `import { ${names} } from '${from}';` : `const { ${names} } = require('${from}');`;
  return `
${format === 'esm' ? "import 'reflect-metadata';" : "require('reflect-metadata');"}
${load('Body, Controller, Module, Post', '@nestjs/common')}
${load('NestFactory', '@nestjs/core')}
${load('TypeOrmModule', '@nestjs/typeorm')}
${load('Redis', 'ioredis')}
${load('Idempotent, IdempotencyModule, IdempotencyService', 'nestjs-idempotency')}
${load('IDEMPOTENCY_MIGRATIONS', 'nestjs-idempotency/migrations')}

let charges = 0;
class Payments {
  pay(body) {
    return { id: ++charges, amount: body.amount };
  }
}
// As TypeScript does: from the last to the first, each on what the one before has made.
let pay = Object.getOwnPropertyDescriptor(Payments.prototype, 'pay');
Reflect.defineMetadata('design:paramtypes', [Object], Payments.prototype, 'pay');
for (const decorate of [(target, name) => Body()(target, name, 0), Post('payments'), Idempotent()]) {
  pay = decorate(Payments.prototype, 'pay', pay) ?? pay;
}
Object.defineProperty(Payments.prototype, 'pay', pay);
Controller()(Payments);

const { DATABASE_URL: url, REDIS_PORT, SCHEMA: schema } = process.env;
const redis = new Redis(Number(REDIS_PORT), '127.0.0.1');
class App {}
Module({
  imports: [
    TypeOrmModule.forRoot({
      type: 'postgres', url, schema, autoLoadEntities: true, migrations: [...IDEMPOTENCY_MIGRATIONS], migrationsRun: true,
    }),
    IdempotencyModule.forRoot({ redis }),
  ],
  controllers: [Payments],
})(App);

function expect(what, found, wanted) {
  if (JSON.stringify(found) === JSON.stringify(wanted)) return;
  throw new Error(what + ': ' + JSON.stringify(found) + ', not ' + JSON.stringify(wanted));
}

async function main() {
  const app = await NestFactory.create(App, { logger: ['error', 'warn'], abortOnError: false });
  await app.listen(0, '127.0.0.1');
  const ask = async (amount) => {
    const answer = await fetch((await app.getUrl()) + '/payments', {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': 'k1' },
      body: JSON.stringify({ amount }),
    });
    const { id, code } = await answer.json();
    return [answer.status, answer.headers.get('idempotent-replayed'), id ?? code];
  };
  expect('fresh', await ask(5), [201, null, 1]);
  expect('replay', await ask(5), [201, 'true', 1]);
  expect('mismatch', await ask(6), [422, null, 'key-reused']);
  expect('run', await app.get(IdempotencyService).run({ key: 'k', operation: 'job' }, () => 'once'), 'once');
  expect('charges', charges, 1);
  await app.close();
  redis.disconnect();
  console.log('ok');
}
main().catch((error) => {
  console.error(error);
  process.exit(1);
});
`;
}
