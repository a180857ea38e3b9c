import { randomUUID } from 'node:crypto';
import { Controller, Injectable, Post } from '@nestjs/common';
import { Idempotent } from '../../lib/index.js';
import { until } from '../support/until.js';
import { PLATFORMS, startApp } from './support/app.js';
import { send } from './support/raw-http.js';

const events: string[] = [];
let goOn: () => void;

@Injectable()
class Bank {
  async charge() {
    events.push('charge');
    await new Promise<void>((resolve) => (goOn = resolve));
    events.push('charged');
  }
  onModuleDestroy() {
    events.push('onModuleDestroy');
  }
  onApplicationShutdown() {
    events.push('onApplicationShutdown');
  }
}

/** Its connection closes a moment later, and as early. */
@Injectable()
class Ledger {
  isOpen = true;
  async write() {
    events.push(this.isOpen ? 'written' : 'ledger closed');
  }
  beforeApplicationShutdown() {
    this.isOpen = false;
    events.push('beforeApplicationShutdown');
  }
}

@Injectable()
class Payments {
  constructor(
    private readonly bank: Bank,
    private readonly ledger: Ledger,
  ) {}
  async pay() {
    await this.bank.charge();
    await this.ledger.write();
  }
}

@Controller('payments')
class PaymentsController {
  constructor(private readonly payments: Payments) {}

  @Idempotent()
  @Post()
  async pay() {
    await this.payments.pay();
  }

  @Idempotent()
  @Post('unused')
  unused() {}
}

it.each(PLATFORMS)(
  'what handlers use closes under them at a shutdown, which the boot reports, on %s',
  async (platform) => {
    events.length = 0;
    const running = await startApp(platform, {
      controllers: [PaymentsController],
      providers: [Bank, Ledger, Payments],
      options: { audit: 'warn' },
    });
    try {
      const warning = running.log.lines.find((line) =>
        line.includes(
          'Nest calls onModuleDestroy() and beforeApplicationShutdown() before running handlers have ended',
        ),
      );
      expect(warning).toContain('Close it in onApplicationShutdown(): PaymentsController.pay (Bank; Ledger)');
      expect(warning).not.toContain('unused');
      const answer = send(running.port, { path: '/payments', key: randomUUID(), body: {} });
      await until(() => events.includes('charge'));
      const closing = running.app.close();
      await until(() => events.includes('beforeApplicationShutdown'));
      goOn();
      await answer.catch(() => undefined);
      await closing;
      expect(events).toEqual([
        'charge',
        'onModuleDestroy',
        'beforeApplicationShutdown',
        'charged',
        'ledger closed',
        'onApplicationShutdown',
      ]);
    } finally {
      await running.close();
    }
  },
);
