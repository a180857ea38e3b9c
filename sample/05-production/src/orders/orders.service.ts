import { ConflictException, Injectable, NotFoundException } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { type EntityManager, Repository } from 'typeorm';
import { post } from './ledger-entry.entity.js';
import type { OrderDto } from './order.dto.js';
import { Order } from './order.entity.js';

@Injectable()
export class OrdersService {
  constructor(@InjectRepository(Order) private readonly orders: Repository<Order>) {}

  async create(
    manager: EntityManager,
    id: string,
    customer: string,
    { description, amount, currency }: OrderDto,
  ): Promise<Order> {
    await manager.insert(Order, { id, customer, description, amount, currency });
    await post(manager, { id, debit: `receivable:${customer}`, credit: 'revenue', amount });
    return manager.findOneByOrFail(Order, { id });
  }

  async find(id: string, customer: string): Promise<Order> {
    const order = await this.orders.findOneBy({ id, customer });
    if (!order) throw new NotFoundException('There is no such order');
    return order;
  }

  list(customer: string): Promise<Order[]> {
    return this.orders.find({ where: { customer }, order: { createdAt: 'DESC' }, take: 100 });
  }

  /**
   * Gives the order to one payment. An idempotency key protects from the same payment twice, and this from two payments
   * with two keys. A payment that begins again finds the order its own.
   *
   * @throws NotFoundException, ConflictException
   */
  async reserve(id: string, customer: string, payment: string): Promise<Order> {
    const { affected } = await this.orders
      .createQueryBuilder()
      .update()
      .set({ payment })
      .where('id = :id AND customer = :customer AND (payment IS NULL OR payment = :payment)', { id, customer, payment })
      .execute();
    const order = await this.find(id, customer);
    if (affected === 0) throw new ConflictException('The order is paid, or is being paid, by another payment');
    return order;
  }

  /** After a declined card: another payment may try. */
  async release(id: string, payment: string): Promise<void> {
    await this.orders.update({ id, payment, status: 'open' }, { payment: null });
  }
}
