import { randomUUID } from 'node:crypto';
import { Body, Controller, Get, Injectable, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { getDataSourceToken, TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { ClsPluginTransactional, TransactionHost } from '@nestjs-cls/transactional';
import { TransactionalAdapterTypeOrm } from '@nestjs-cls/transactional-adapter-typeorm';
import { ClsModule } from 'nestjs-cls';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import { Idempotent, IdempotencyModule } from 'nestjs-idempotency';

@Entity('booking')
class Booking {
  @PrimaryColumn({ type: 'varchar', length: 36 }) id!: string;
  @Column({ type: 'varchar', length: 20 }) room!: string;
}

/** Knows nothing of idempotency: writes through the application's own transaction host. */
@Injectable()
class Bookings {
  constructor(private readonly host: TransactionHost<TransactionalAdapterTypeOrm>) {}

  async book(room: string) {
    const booking = { id: randomUUID(), room };
    await this.host.tx.insert(Booking, booking);
    return booking;
  }

  async rooms() {
    return (await this.host.tx.find(Booking)).map((booking) => booking.room);
  }
}

@Controller('bookings')
class BookingsController {
  constructor(private readonly bookings: Bookings) {}

  @Post()
  @Idempotent({ transactional: true })
  async book(@Body() { room, fail }: { room: string; fail?: boolean }) {
    const booking = await this.bookings.book(room);
    if (fail) throw new Error('after the booking');
    return booking;
  }

  @Get()
  rooms() {
    return this.bookings.rooms();
  }
}

const host = () => TransactionHost.getInstance<TransactionalAdapterTypeOrm>();

@Module({
  imports: [
    TypeOrmModule.forRoot({
      ...(JSON.parse(process.env.DATABASE!) as TypeOrmModuleOptions),
      autoLoadEntities: true,
      entities: [Booking],
      synchronize: true,
    } as TypeOrmModuleOptions),
    ClsModule.forRoot({
      global: true,
      middleware: { mount: true },
      plugins: [
        new ClsPluginTransactional({
          imports: [TypeOrmModule],
          adapter: new TransactionalAdapterTypeOrm({ dataSourceToken: getDataSourceToken() }),
        }),
      ],
    }),
    IdempotencyModule.forRoot({
      transactionHost: { run: (_dataSource, work) => host().withTransaction(() => work(host().tx)) },
    }),
  ],
  controllers: [BookingsController],
  providers: [Bookings],
})
class ClsApp {}

const app = await NestFactory.create(ClsApp, { logger: false, abortOnError: false });
await app.listen(0, '127.0.0.1');
process.send!({ port: Number(new URL(await app.getUrl()).port) });
process.once('disconnect', () => process.exit(1));
