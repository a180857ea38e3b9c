import { Subject } from 'rxjs';
import type { EventSink, IdempotencyEvent } from '../engine/events.js';

/** Emits events to subscribers, and to the module's own log. */
export class EventStream implements EventSink {
  private readonly subject = new Subject<IdempotencyEvent>();
  readonly events$ = this.subject.asObservable();
  /** Receives all events, of which only those of failures are created without a subscriber. */
  onEvent: ((event: IdempotencyEvent) => void) | undefined;

  get observed(): boolean {
    return this.subject.observed;
  }

  next(event: IdempotencyEvent): void {
    this.onEvent?.(event);
    this.subject.next(event);
  }

  complete(): void {
    this.subject.complete();
  }
}
