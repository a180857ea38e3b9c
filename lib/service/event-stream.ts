import { Subject } from 'rxjs';
import type { EventSink, IdempotencyEvent } from '../engine/events.js';

/** Events for whoever subscribes, and for the module's own warnings. */
export class EventStream implements EventSink {
  private readonly subject = new Subject<IdempotencyEvent>();
  readonly events$ = this.subject.asObservable();
  /** Told of what goes wrong, though nobody subscribes: it makes no request pay for the rest. */
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
