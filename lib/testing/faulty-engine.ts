import type { Server } from 'node:http';
import type { Admission } from '../engine/admission.js';
import { type EngineParts, IdempotencyEngine } from '../engine/engine.js';
import type { Operation } from '../engine/operation.js';
import { Exchanges } from './exchanges.js';
import { Life } from './life.js';
import type { FaultSite } from './points.js';

/** What a fault can see and do at the point where it strikes. */
export interface FaultScene {
  readonly site: FaultSite;
  /** The store without faults. */
  readonly store: EngineParts['store'];
  /** Ends the engine's life as kill -9 would, and starts another one. Never resolves. */
  crash(): Promise<never>;
}

/** An engine that simulates the death of its process: a next life starts, without the memory of the former. */
export class FaultyEngine extends IdempotencyEngine {
  private life: Life;
  private readonly exchanges = new Exchanges();

  constructor(
    private readonly allParts: EngineParts,
    private readonly strike: (scene: FaultScene) => void | Promise<void>,
    private readonly isArmed: (point: string) => boolean,
    private readonly wrap: (parts: EngineParts) => EngineParts,
  ) {
    super(allParts);
    this.life = this.beginLife();
  }

  listen(server: Server): void {
    this.exchanges.listen(server);
  }

  override async admit(operation: Operation): Promise<Admission> {
    const { life } = this;
    const { recordId } = operation;
    const admission = await life.admit(operation);
    if (admission.kind === 'run') {
      this.exchanges.runs((site) => (this.isArmed(site.point) ? life.pass({ ...site, recordId }) : undefined));
    }
    return admission;
  }

  override drain(timeUp?: Promise<unknown>): Promise<void> {
    return this.life.engine.drain(timeUp);
  }

  private beginLife(): Life {
    const crash = (life: Life) => () => {
      this.life = this.beginLife();
      life.die();
      this.exchanges.hangUp();
      return new Promise<never>(() => undefined);
    };
    const { store } = this.allParts;
    const strike = (site: FaultSite, life: Life) => this.strike({ site, store, crash: crash(life) });
    return new Life(this.allParts, strike, this.wrap, this.isArmed);
  }
}
