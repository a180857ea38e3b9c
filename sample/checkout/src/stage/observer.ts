import { IDEMPOTENCY_ENTITIES, IdempotencyRecord, IdempotencyStep } from 'nestjs-idempotency';
import { DataSource, type DataSourceOptions, In, Not } from 'typeorm';
import { ASSORTMENT } from '../catalog/catalog.service.js';
import { Product } from '../catalog/product.entity.js';
import { config } from '../config.js';
import { databaseOptions } from '../database.js';
import { OrderLine } from '../orders/order-line.entity.js';
import { Order } from '../orders/order.entity.js';

const NEWEST = 12;

export interface RecordView {
  id: string;
  status: string;
  attempt: number;
  token: number;
  leaseUntil: Date;
  expiresAt: Date;
  responseCode: number | null;
  /** Of the request on record: which payment it is. */
  card?: string;
  steps: { name: string; status: string; token: number }[];
}

/** Reads what the shops share, past the shops: what is in the database is to be seen while they are dead. */
export class Observer {
  private constructor(private readonly dataSource: DataSource) {}

  /** The shops make the tables: one of them has to be open. */
  static async open(): Promise<Observer> {
    const options = {
      ...databaseOptions(config),
      entities: [Order, OrderLine, Product, ...IDEMPOTENCY_ENTITIES],
      synchronize: false,
    } as DataSourceOptions;
    return new Observer(await new DataSource(options).initialize());
  }

  async products(): Promise<Product[]> {
    return this.dataSource.manager.find(Product, { order: { price: 'ASC' } });
  }

  async orders(): Promise<{ total: number; newest: Order[] }> {
    const { manager } = this.dataSource;
    const newest = await manager.find(Order, { order: { createdAt: 'DESC' }, take: NEWEST });
    return { total: await manager.count(Order), newest };
  }

  async records(): Promise<RecordView[]> {
    const { manager } = this.dataSource;
    const records = await manager.find(IdempotencyRecord, { order: { createdAt: 'DESC' }, take: NEWEST });
    const steps = await manager.find(IdempotencyStep, {
      where: { recordId: In(records.map(({ id }) => id)), name: Not('') },
      order: { updatedAt: 'ASC' },
    });
    return records.map(({ id, status, attempt, token, leaseUntil, expiresAt, responseCode, request }) => ({
      id,
      status,
      attempt,
      token,
      leaseUntil,
      expiresAt,
      responseCode,
      card: cardOf(request),
      steps: steps
        .filter(({ recordId }) => recordId === id)
        .map(({ name, status, token }) => ({ name, status, token })),
    }));
  }

  /** Deletes what was bought and fills the shelves again. */
  clear(): Promise<void> {
    return this.dataSource.transaction(async (manager) => {
      for (const entity of [IdempotencyStep, IdempotencyRecord, OrderLine, Order]) {
        await manager.createQueryBuilder().delete().from(entity).execute();
      }
      await manager.save(Product, ASSORTMENT);
    });
  }

  close(): Promise<void> {
    return this.dataSource.destroy();
  }
}

function cardOf(request: Buffer | null): string | undefined {
  return request ? (JSON.parse(request.toString()) as { body?: { card?: string } }).body?.card : undefined;
}
