import { Injectable } from '@nestjs/common';
import { InjectDataSource } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import { CatalogService } from '../catalog/catalog.service.js';
import { OrderLine } from './order-line.entity.js';
import { Order } from './order.entity.js';

export interface OrderItem {
  sku: string;
  quantity: number;
}

/** What a checkout has to know of an order before it is paid. */
export interface Reservation {
  /** In cents. */
  total: number;
  currency: string;
}

const CURRENCY = 'EUR';

/** An order's life: reserved, then paid or cancelled. Each transition is one small transaction. */
@Injectable()
export class OrdersService {
  constructor(
    @InjectDataSource() private readonly dataSource: DataSource,
    private readonly catalog: CatalogService,
  ) {}

  list(): Promise<Order[]> {
    return this.dataSource.manager.find(Order, {
      relations: { lines: true },
      order: { createdAt: 'ASC', lines: { sku: 'ASC' } },
    });
  }

  get(id: string): Promise<Order> {
    return this.dataSource.manager.findOneOrFail(Order, {
      where: { id },
      relations: { lines: true },
      order: { lines: { sku: 'ASC' } },
    });
  }

  /** Takes the goods off the shelves and opens the order. A second time it fails: the id is the primary key. */
  reserve(id: string, items: OrderItem[]): Promise<Reservation> {
    return this.dataSource.transaction(async (manager) => {
      const lines: OrderLine[] = [];
      // Always in the same order, so that two carts with the same goods cannot lock each other out.
      for (const { sku, quantity } of items.toSorted(bySku)) {
        const { price } = await this.catalog.take(manager, sku, quantity);
        lines.push({ orderId: id, sku, quantity, unitPrice: price });
      }
      const reservation = { total: sum(lines), currency: CURRENCY };
      await manager.insert(Order, { id, status: 'reserved', ...reservation });
      await manager.insert(OrderLine, lines);
      return reservation;
    });
  }

  /** Undefined when the goods were never reserved. */
  async findReservation(id: string): Promise<Reservation | undefined> {
    const order = await this.dataSource.manager.findOneBy(Order, { id });
    return order ? { total: order.total, currency: order.currency } : undefined;
  }

  /** The charge went through. Harmless when repeated. */
  async markPaid(id: string, chargeId: string): Promise<void> {
    await this.dataSource.manager.update(Order, id, {
      status: 'paid',
      chargeId,
    });
  }

  /** The charge was declined: the goods go back. Harmless when repeated, since only a reserved order is cancelled. */
  async cancel(id: string): Promise<void> {
    await this.dataSource.transaction(async (manager) => {
      const { affected } = await manager.update(Order, { id, status: 'reserved' }, { status: 'cancelled' });
      if (!affected) return;
      for (const line of await manager.findBy(OrderLine, { orderId: id })) {
        await this.catalog.putBack(manager, line.sku, line.quantity);
      }
    });
  }
}

function sum(lines: OrderLine[]): number {
  return lines.reduce((total, l) => total + l.quantity * l.unitPrice, 0);
}

function bySku(a: OrderItem, b: OrderItem): number {
  return a.sku < b.sku ? -1 : 1;
}
