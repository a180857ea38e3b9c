import { Subject } from 'rxjs';
import type { EventSink, IdempotencyEvent } from '../engine/events.js';

/** Events for whoever subscribes. */
export class EventStream implements EventSink {
  private readonly subject = new Subject<IdempotencyEvent>();
  readonly events$ = this.subject.asObservable();

  get observed(): boolean {
    return this.subject.observed;
  }

  next(event: IdempotencyEvent): void {
    this.subject.next(event);
  }

  complete(): void {
    this.subject.complete();
  }
}
