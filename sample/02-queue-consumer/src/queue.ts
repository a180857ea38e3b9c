import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';

export interface Job {
  id: string;
  data: { order: string; amount: number };
}

export type Consume = (job: Job) => Promise<void>;

/**
 * Stands for SQS, RabbitMQ or BullMQ, in this process: it delivers each job at least once. What was not acknowledged in
 * time is delivered again, and so is what failed, and now and then a job comes twice for no reason at all.
 */
@Injectable()
export class Queue {
  private readonly waiting: Job[] = [];
  private deliveries = 0;

  /** How long a consumer may take before the job goes to somebody else as well, in milliseconds. */
  readonly visibilityTimeout = 200;

  push(job: Job): void {
    this.waiting.push(job);
  }

  /** Delivers until nothing is left. Returns how many deliveries that took. */
  async drain(consume: Consume): Promise<number> {
    while (this.waiting.length > 0) {
      const jobs = this.waiting.splice(0);
      await Promise.all(jobs.map((job, i) => this.deliver(job, consume, i % 3 === 0)));
    }
    return this.deliveries;
  }

  private async deliver(job: Job, consume: Consume, twice: boolean): Promise<void> {
    const copies = Array.from({ length: twice ? 2 : 1 }, () => this.hand(job, consume));
    const acknowledged = Promise.all(copies).then((results) => results.every(Boolean));
    const inTime = await Promise.race([acknowledged, sleep(this.visibilityTimeout, false)]);
    if (!inTime) this.waiting.push(job);
    await acknowledged;
  }

  private async hand(job: Job, consume: Consume): Promise<boolean> {
    this.deliveries++;
    try {
      await consume(job);
      return true;
    } catch {
      return false;
    }
  }
}
