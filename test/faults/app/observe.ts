import type { IdempotencyEvent } from 'nestjs-idempotency';
import type { FaultAction, FencedAnswer, RecordState } from 'nestjs-idempotency/testing';
import { type Log, now } from '../history/log.js';

/** No execution is that old, in milliseconds: what was noted of older ones is forgotten, or the memory would grow with them. */
const OLDEST = 30_000;

/** Writes down what the engine asks of its store, and what it believes to be on record. */
export class Observer {
  /** When an owner first sent its claim, and when an execution first sent its completion. */
  private readonly firstSent = new Map<string, number>();
  /**
   * When an owner sent the renewals that are not answered, the oldest first. Several are under way where a process was paused behind one. An
   * answer counts for the oldest: for a later one, it would promise a longer lease than the record may have.
   */
  private readonly renewalsSent = new Map<string, number[]>();

  constructor(private readonly log: Log) {}

  readonly atEveryPoint: FaultAction = ({ site }) => {
    const { point, recordId: record, claim, ownership, answer } = site;
    if (point === 'before claim') this.noteFirst(claim!.owner);
    if (point === 'before complete') this.noteFirst(`${record} ${ownership!.token}`);
    if (point === 'before release') {
      this.log.say({ kind: 'engine event', record, token: ownership!.token, event: 'letting go' });
    }
    if (point === 'before renew') {
      const { owner } = ownership!;
      note(this.renewalsSent, owner, [...(this.renewalsSent.get(owner) ?? []), now()]);
    }
    if (point === 'after claim') this.claimed(answer as RecordState, claim!.owner);
    if (point === 'after renew') {
      const { owner, token } = ownership!;
      const sentAt = this.renewalsSent.get(owner)?.shift();
      if ((answer as FencedAnswer).held && sentAt !== undefined)
        this.log.say({ kind: 'renewed', record, token, sentAt });
    }
  };

  readonly onEvent = (event: IdempotencyEvent): void => {
    if (event.type !== 'completed' && event.type !== 'leaseLost' && event.type !== 'released') return;
    const { recordId: record, token, type } = event;
    if (type !== 'completed') return this.log.say({ kind: 'engine event', record, token, event: type });
    this.log.say({ kind: 'completed', record, token, sentAt: this.firstSent.get(`${record} ${token}`) ?? now() });
  };

  private claimed(answer: RecordState, owner: string): void {
    if (answer.owner !== owner || answer.status !== 'processing') return;
    const { recordId: record, token, attempt, takenFrom } = answer;
    this.log.say({ kind: 'claimed', record, owner, token, attempt, takenFrom, sentAt: this.firstSent.get(owner)! });
  }

  private noteFirst(what: string): void {
    if (!this.firstSent.has(what)) note(this.firstSent, what, now());
  }
}

function note<Times extends number | number[]>(notes: Map<string, Times>, what: string, times: Times): void {
  notes.delete(what);
  notes.set(what, times);
  for (const [oldest, noted] of notes) {
    if ([noted].flat().at(-1)! > now() - OLDEST) return;
    notes.delete(oldest);
  }
}
