import { NestFactory } from '@nestjs/core';
import { DataSource } from 'typeorm';
import { AppModule } from './app.module.js';
import { Invoice } from './invoice.entity.js';
import { InvoicesConsumer } from './invoices.consumer.js';
import { Queue } from './queue.js';

const app = await NestFactory.createApplicationContext(AppModule, { logger: ['log', 'warn', 'error'] });
const queue = app.get(Queue);
const consumer = app.get(InvoicesConsumer);

for (const order of ['first', 'slow', 'fails', 'last']) {
  queue.push({ id: `job-${order}`, data: { order, amount: 100 } });
}
const deliveries = await queue.drain((job) => consumer.consume(job));

const invoices = await app.get(DataSource).getRepository(Invoice).find();
console.log(`${deliveries} deliveries, ${invoices.length} invoices: ${invoices.map(({ order }) => order).join(', ')}`);
await app.close();
