import { randomUUID } from 'node:crypto';
import { Controller, Get, Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Cron, ScheduleModule } from '@nestjs/schedule';
import { TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { Column, DataSource, Entity, PrimaryColumn } from 'typeorm';
import { IdempotencyModule, IdempotencyService } from 'nestjs-idempotency';

@Entity('digest')
class Digest {
  @PrimaryColumn({ type: 'varchar', length: 36 }) id!: string;
  @Column({ type: 'varchar', length: 40 }) due!: string;
  @Column({ type: 'int' }) pid!: number;
}

const SECOND = 1_000;
const report = (message: object) => process.send?.(message);

@Injectable()
class Digests {
  constructor(
    private readonly dataSource: DataSource,
    private readonly idempotency: IdempotencyService,
  ) {}

  @Cron('* * * * * *')
  async send(): Promise<void> {
    // When this tick was due: its timer is never early, and late by less than a second.
    const due = new Date(Math.floor(Date.now() / SECOND) * SECOND).toISOString();
    const sent = await this.idempotency.run(
      { key: due, operation: 'send digests', onConflict: 'wait', transactional: true },
      async ({ manager }) => {
        await manager.insert(Digest, { id: randomUUID(), due, pid: process.pid });
        return { by: process.pid };
      },
    );
    report({ due, by: sent.by });
  }

  all() {
    return this.dataSource.getRepository(Digest).find();
  }
}

@Controller('digests')
class DigestsController {
  constructor(private readonly digests: Digests) {}

  @Get()
  all() {
    return this.digests.all();
  }
}

@Module({
  imports: [
    TypeOrmModule.forRoot({
      ...(JSON.parse(process.env.DATABASE!) as TypeOrmModuleOptions),
      autoLoadEntities: true,
      entities: [Digest],
      synchronize: process.env.SYNCHRONIZE !== 'off',
    } as TypeOrmModuleOptions),
    IdempotencyModule.forRoot(),
    ScheduleModule.forRoot(),
  ],
  providers: [Digests],
  controllers: [DigestsController],
})
class ScheduleApp {}

const app = await NestFactory.create(ScheduleApp, { logger: ['error', 'warn', 'fatal'], abortOnError: false });
await app.listen(0, '127.0.0.1');
report({ port: Number(new URL(await app.getUrl()).port) });
process.once('disconnect', () => process.exit(1));
