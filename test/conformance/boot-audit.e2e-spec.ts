import { type CanActivate, Controller, Post, UseGuards } from '@nestjs/common';
import { EventPattern, MessagePattern } from '@nestjs/microservices';
import { Idempotent, type IdempotencyModuleOptions } from '../../lib/index.js';
import { PLATFORMS, type Platform, startApp } from './support/app.js';
import {
  AuditedController,
  CoveredController,
  PlainController,
  SseController,
} from './support/module-wiring.controllers.js';

type Options = IdempotencyModuleOptions;

/** Boots an application, and returns what it logged. */
async function boot(
  platform: Platform,
  controllers: (new (...args: never[]) => object)[],
  options: Options,
): Promise<string> {
  const app = await startApp(platform, { controllers, options });
  await app.close();
  return app.log.toString();
}

function controllerWith(routes: number) {
  class ManyController {}
  for (let route = 0; route < routes; route++) {
    const descriptor = { value: () => undefined, configurable: true };
    Object.defineProperty(ManyController.prototype, `route${route}`, descriptor);
    Post(`route${route}`)(ManyController.prototype, `route${route}`, descriptor);
  }
  Controller('many')(ManyController);
  return ManyController;
}

class TokenGuard implements CanActivate {
  canActivate(): boolean {
    return true;
  }
}

@Controller()
class MessagesController {
  @MessagePattern('pay')
  @UseGuards(TokenGuard)
  @Idempotent()
  pay() {}

  @EventPattern<string>('paid')
  @UseGuards(TokenGuard)
  @Idempotent()
  paid() {}

  @MessagePattern('refund')
  @UseGuards(TokenGuard)
  @Idempotent({ scope: () => 'shop' })
  refund() {}

  @MessagePattern('open')
  @Idempotent()
  open() {}

  @Post('guarded')
  @UseGuards(TokenGuard)
  @Idempotent()
  post() {}
}

describe.each(PLATFORMS)('boot, on %s', (platform) => {
  const undecided =
    'Mutating routes with neither @Idempotent() nor @NotIdempotent(): AuditedController.decidedNot, AuditedController.all';

  test('audit: warn', async () => {
    expect(await boot(platform, [AuditedController, CoveredController], { audit: 'warn' })).toContain(
      `WARN ${undecided}`,
    );
  });

  test('audit: error', async () => {
    await expect(boot(platform, [AuditedController, CoveredController], { audit: 'error' })).rejects.toThrow(undecided);
  });

  test('audit: warn names ten of many routes, audit: error all of them', async () => {
    const names = Array.from({ length: 12 }, (_, route) => `ManyController.route${route}`);
    const log = await boot(platform, [controllerWith(12)], { audit: 'warn' });
    expect(log).toContain(
      `@NotIdempotent(): ${names.slice(0, 10).join(', ')}, and 2 more. \`npx nestjs-idempotency doctor\` names all, ` +
        "`audit: 'off'` none",
    );
    expect(await boot(platform, [controllerWith(10)], { audit: 'warn' })).toContain(
      'ManyController.route8, ManyController.route9 Idempotency',
    );
    await expect(boot(platform, [controllerWith(12)], { audit: 'error' })).rejects.toThrow(names.join(', '));
  });

  test('messages whose senders guards tell apart, and keys do not', async () => {
    const log = await boot(platform, [MessagesController], { audit: 'error' });
    expect(log).toMatch(/one sender: MessagesController.pay, MessagesController.paid( Idempotency)?$/m);
    const scope = () => 'all';
    expect(await boot(platform, [MessagesController], { audit: 'warn', scope })).toBe('');
    expect(await boot(platform, [MessagesController], { audit: 'off' })).toBe('');
  });

  test('audit: off', async () => {
    expect(await boot(platform, [AuditedController], { audit: 'off' })).toBe('');
  });

  test('audit: nothing to report', async () => {
    expect(await boot(platform, [CoveredController], { audit: 'error' })).toBe('');
    expect(await boot(platform, [PlainController], { audit: 'warn' })).toContain('PlainController.unmarked');
  });

  test.each(['off', 'warn', 'error'] as const)('@Sse() with @Idempotent() is refused, audit: %s', async (audit) => {
    await expect(boot(platform, [SseController], { audit })).rejects.toThrow(
      '@Idempotent() on SseController.events: server-sent events cannot be replayed',
    );
  });

  test.each<[option: string, options: object]>([
    ['retries', { retries: 3 }],
    ['header', { header: 'two words' }],
    ['keyFormat.maxLength', { keyFormat: { maxLength: 0 } }],
    ['keyFormat.pattern', { keyFormat: { pattern: /a/g } }],
    ['keyFormat.longest', { keyFormat: { longest: 3 } }],
    ['fingerprint', { fingerprint: 'all' }],
    ['fingerprint.ignore', { fingerprint: { ignore: ['a/b'] } }],
    ['onConflict', { onConflict: 'queue' }],
    ['waitTimeout', { waitTimeout: '10 parsecs' }],
    ['lease', { lease: -1 }],
    ['retention', { retention: 0 }],
    ['afterCrash', { afterCrash: 'panic' }],
    ['transactional', { transactional: 'yes' }],
    ['outcome', { outcome: 'store' }],
    ['scope', { scope: 'tenant' }],
    ['key', { key: 'id' }],
    ['required', { required: 1 }],
    ['request.maxBytes', { request: { maxBytes: 1.5 } }],
    ['request.redact', { request: { redact: '/card' } }],
    ['response.maxBytes', { response: { maxBytes: '1MB' } }],
    ['response.headers.include', { response: { headers: { include: 'etag' } } }],
    ['encryption.current', { encryption: { keys: { a: Buffer.alloc(32) }, current: 'b' } }],
    ['encryption.keys.a', { encryption: { keys: { a: Buffer.alloc(16) }, current: 'a' } }],
    ['sweep.every', { sweep: { every: 'often' } }],
    ['audit', { audit: 'maybe' }],
    ['documentation', { documentation: '/docs' }],
    ['storeTimeout', { storeTimeout: 'soon' }],
    ['onLockUnavailable', { onLockUnavailable: 'shrug' }],
    ['transactionHost', { transactionHost: {} }],
    ['redis', { redis: [{}, {}] }],
  ])('a bad option fails the boot by its name: %s', async (option, options) => {
    await expect(boot(platform, [], options as Options)).rejects.toThrow(`option \`${option}\``);
  });
});
