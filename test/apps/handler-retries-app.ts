import { appendFileSync } from 'node:fs';
import { Body, Controller, Get, Module, type NestInterceptor, Post, UseInterceptors } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { InjectDataSource, TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { retry } from 'rxjs';
import { Column, DataSource, Entity, PrimaryColumn } from 'typeorm';
import { type Execution, Idempotent, IdempotencyModule, IdempotentExecution } from 'nestjs-idempotency';

/** Which call of the handler ends the process, if any. */
const { DIES_IN, CHARGES } = process.env;

@Entity('payment')
class Payment {
  @PrimaryColumn({ type: 'varchar', length: 80 }) id!: string;
  @Column({ type: 'int' }) call!: number;
}

const retrying: NestInterceptor = { intercept: (_context, next) => next.handle().pipe(retry(2)) };

@Controller()
class PaymentsController {
  private readonly calls = new WeakMap<Execution, number>();

  constructor(@InjectDataSource() private readonly dataSource: DataSource) {}

  /** Succeeds at the third call. What it charges elsewhere is noted in a file. */
  @Post('pay')
  @UseInterceptors(retrying)
  @Idempotent({ transactional: true })
  async pay(@Body() { name }: { name: string }, @IdempotentExecution() execution: Execution) {
    const n = (this.calls.get(execution) ?? 0) + 1;
    this.calls.set(execution, n);
    await execution.step('charge', () => appendFileSync(CHARGES!, `${name}\n`));
    await execution.manager.insert(Payment, { id: `${name} ${execution.attempt} ${n}`, call: n });
    if (n === Number(DIES_IN)) process.kill(process.pid, 'SIGKILL');
    if (n < 3) throw new Error('ECONNRESET');
    return { attempt: execution.attempt, call: n };
  }

  @Get('payments')
  async payments() {
    return (await this.dataSource.getRepository(Payment).find()).map(({ id }) => id);
  }
}

@Module({
  imports: [
    TypeOrmModule.forRoot({
      ...(JSON.parse(process.env.DATABASE!) as TypeOrmModuleOptions),
      autoLoadEntities: true,
      entities: [Payment],
      synchronize: process.env.SYNCHRONIZE !== 'off',
    } as TypeOrmModuleOptions),
    IdempotencyModule.forRoot({ lease: '1s' }),
  ],
  controllers: [PaymentsController],
})
class AgainApp {}

const app = await NestFactory.create(AgainApp, { logger: false, abortOnError: false });
await app.listen(0, '127.0.0.1');
process.send!({ port: Number(new URL(await app.getUrl()).port) });
process.once('disconnect', () => process.exit(1));
