import { Body, Controller, Get, Param, ParseUUIDPipe, Post } from '@nestjs/common';
import { type Execution, Idempotent, IdempotentExecution } from 'nestjs-idempotency';
import { CurrentUser, type User } from '../auth/user.js';
import { OrderDto } from './order.dto.js';
import type { Order } from './order.entity.js';
import { OrdersService } from './orders.service.js';

@Controller('orders')
export class OrdersController {
  constructor(private readonly orders: OrdersService) {}

  /** All effects are in this database: order, ledger and outcome commit together, or not at all. */
  @Idempotent({ operation: 'orders.create', transactional: true })
  @Post()
  create(
    @Body() dto: OrderDto,
    @CurrentUser() user: User,
    @IdempotentExecution() execution: Execution,
  ): Promise<Order> {
    return this.orders.create(execution.manager, execution.deriveKey('order'), user.id, dto);
  }

  @Get()
  list(@CurrentUser() user: User): Promise<Order[]> {
    return this.orders.list(user.id);
  }

  @Get(':id')
  find(@Param('id', ParseUUIDPipe) id: string, @CurrentUser() user: User): Promise<Order> {
    return this.orders.find(id, user.id);
  }
}
