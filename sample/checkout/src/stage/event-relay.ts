import { Injectable, type OnModuleInit } from '@nestjs/common';
import { type IdempotencyEvent, IdempotencyService } from 'nestjs-idempotency';
import { tell } from './messages.js';

/** Passes the library's events on to the stage, which shows them on the page. */
@Injectable()
export class EventRelay implements OnModuleInit {
  constructor(private readonly idempotency: IdempotencyService) {}

  onModuleInit(): void {
    this.idempotency.events$.subscribe((event) => {
      tell({ kind: 'event', type: event.type, recordId: event.recordId, text: describe(event) });
    });
  }
}

function describe(event: IdempotencyEvent): string {
  switch (event.type) {
    case 'claimed':
      return `owns the record now: attempt ${event.attempt}, fencing token ${event.token}`;
    case 'takenOver':
      return `took the record over: its owner fell silent`;
    case 'replayed':
      return 'answered with the outcome on record';
    case 'replayUnavailable':
      return 'refused a duplicate: the answer was too large to keep';
    case 'conflict':
      return 'refused a duplicate: the first request is still running';
    case 'waited':
      return 'a duplicate has waited for the running request';
    case 'mismatch':
      return 'refused: the key belongs to another request';
    case 'notKept':
      return event.step
        ? `step "${event.step}" is done, but its result could not be kept`
        : 'done, but the answer could not be kept';
    case 'unreachedSteps':
      return `came to an outcome without calling ${event.steps.join(', ')} of an earlier attempt`;
    case 'overran':
      return 'ran for longer than it may: its lease is left to run out';
    case 'longRunning':
      return 'has run for ten minutes: its key stays taken until it ends';
    case 'leaseLost':
      return `lost the record: what holds token ${event.token} can write nothing any more`;
    case 'completed':
      return `recorded the outcome under token ${event.token}, then answered`;
    case 'released':
      return 'freed the key: the next retry may run';
    case 'unrecorded':
      return 'the database was lost before the outcome was on record';
    case 'held':
      return 'the outcome is unknown until someone resolves it';
    case 'storeUnavailable':
      return 'the database cannot be asked';
    case 'lockDegraded':
      return 'no lock from Redis: the database alone decides';
    case 'lockUnavailable':
      return 'refused: no lock from Redis';
  }
}
