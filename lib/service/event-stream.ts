import { Subject } from 'rxjs';
import type { EventSink, IdempotencyEvent } from '../engine/events.js';

/** Events for subscribers, and for the module's own warnings. */
export class EventStream implements EventSink {
  private readonly subject = new Subject<IdempotencyEvent>();
  readonly events$ = this.subject.asObservable();
  /** Gets events of failures even without a subscriber, and no others: these would cost every request something. */
  onTrouble: ((event: IdempotencyEvent) => void) | undefined;

  get observed(): boolean {
    return this.subject.observed;
  }

  next(event: IdempotencyEvent): void {
    this.onTrouble?.(event);
    this.subject.next(event);
  }

  complete(): void {
    this.subject.complete();
  }
}
