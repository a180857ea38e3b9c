import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import type { Subscription } from 'rxjs';
import { ScopeDigest } from '../edges/caller/caller-digests.js';
import { type IdempotencyService, partsOf } from '../service/idempotency.service.js';
import { neverExpires } from '../service/record-view.js';
import type { IdempotencyStep } from '../store/entities/index.js';
import { ActivityMemory } from './activity.js';
import { ContentView, type ContentOptions } from './content.js';
import type { Activity, Info, RecordDetail, RecordPage, RecordQuery, TimelineEntry } from './contract.js';
import { DashboardError, invalid } from './dashboard-error.js';
import { EventStreams } from './event-streams.js';
import folder from './folder.cjs';
import { actionsOn, notFound, OperatorActions } from './operator-actions.js';
import type { ResolvedDashboardOptions } from './options.js';
import { readPageFiles } from './page-files.js';
import { type JudgedRecord, type PageQuery, recordId, RecordPages, summaryOf } from './record-pages.js';

const { version } = createRequire(join(folder, 'dashboard.js'))('../../package.json') as { readonly version: string };

/** How many searches may run at a time. Each may hold a connection of the application's pool, which requests need. */
const MAX_SEARCHES = 4;

/** What the page shows and does, independent of HTTP. */
export class Dashboard implements OnModuleInit, OnModuleDestroy {
  readonly files = readPageFiles();
  private readonly memory = new ActivityMemory();
  readonly streams = new EventStreams(this.memory);
  private readonly pages: RecordPages;
  private readonly content: ContentOptions;
  private readonly operators: OperatorActions;
  private listening: Subscription | undefined;
  /** Running searches by their query: all open pages ask for the same. */
  private readonly searches = new Map<string, Promise<RecordPage>>();
  private searching = 0;

  constructor(
    private readonly service: IdempotencyService,
    private readonly options: ResolvedDashboardOptions,
  ) {
    const parts = partsOf(service);
    const { defaults, encryption } = parts.options;
    this.pages = new RecordPages(parts.dataSource, new ScopeDigest(parts.options));
    this.content = {
      encryption,
      content: options.content,
      redact: [options.redact, defaults.request?.redact ?? [], defaults.response?.redact ?? []].flat(),
    };
    this.operators = new OperatorActions({
      store: parts.store,
      pages: this.pages,
      onChange: (id, operation, type) => {
        // A running search may have read the record before the change.
        this.searches.clear();
        this.streams.note({ id, operation, type });
      },
    });
  }

  onModuleInit(): void {
    this.listening = this.service.events$.subscribe((event) => this.memory.record(event));
  }

  /** Here, because the application next waits for open requests, and an open stream never ends. */
  onModuleDestroy(): void {
    this.listening?.unsubscribe();
    this.streams.close();
  }

  info(): Pick<Info, 'actions' | 'operations' | 'encrypted' | 'version'> {
    const { actions } = this.options;
    return { actions, operations: this.memory.operations, encrypted: this.content.encryption !== undefined, version };
  }

  activity(): Activity {
    return this.memory.activity();
  }

  /** @throws DashboardError if too many searches run: a page that closes does not stop its search */
  async list(query: PageQuery): Promise<RecordPage> {
    const what = JSON.stringify(query);
    const running = this.searches.get(what);
    if (running) return running;
    if (this.searching >= MAX_SEARCHES) {
      throw new DashboardError('too-many-clients', `${MAX_SEARCHES} searches run already: the database is slow`);
    }
    this.searching++;
    const search = this.pages.page(query).finally(() => {
      this.searching--;
      if (this.searches.get(what) === search) this.searches.delete(what);
    });
    this.searches.set(what, search);
    return search;
  }

  /** Returns the record of an id or of a client's key, as a list. */
  async listOne(which: Pick<RecordQuery, 'id' | 'key' | 'operation' | 'scope' | 'host'>): Promise<RecordPage> {
    const id = which.id === undefined ? await this.idOf(which) : recordId(which.id);
    const records = id === undefined ? [] : await this.pages.summaries([id]);
    return { records, cursor: null, partial: false, scanned: records.length, orderedBy: 'created' };
  }

  /** @throws DashboardError if the record does not exist */
  async detail(id: string): Promise<RecordDetail> {
    const judged = await this.pages.whole(recordId(id));
    if (!judged) throw notFound(id);
    const { record } = judged;
    const view = new ContentView(record, this.content);
    return {
      ...summaryOf(judged),
      takenFrom: record.takenFrom,
      holdOnCrash: record.holdOnCrash,
      awaited: record.awaited,
      retentionMs: record.retentionMs,
      request: view.request(),
      response: view.response(),
      timeline: timelineOf(judged, await this.service.steps(record.id), view, this.memory.of(record.id)),
      actions: this.options.actions ? actionsOn(judged) : [],
    };
  }

  /** @throws DashboardError without the option `actions` */
  actions(): OperatorActions {
    if (this.options.actions) return this.operators;
    throw new DashboardError('actions-off', 'The page only shows: the option `actions` of the dashboard is off');
  }

  private async idOf({ key, operation, scope, host }: Omit<RecordQuery, 'id'>): Promise<string | undefined> {
    if (!key || !operation) {
      throw invalid('`key` needs `operation`: the records have digests of both, not their text');
    }
    const record = await this.service.find({ key, operation, ...(scope && { scope }), ...(host && { host }) });
    return record?.id;
  }
}

/** Returns the timeline from the record and its steps, with the events that this process remembers. */
function timelineOf(
  { record, abandoned, expired }: JudgedRecord,
  steps: readonly IdempotencyStep[],
  view: ContentView,
  remembered: readonly TimelineEntry[],
): TimelineEntry[] {
  const source = 'record';
  const { status, attempt, responseCode } = record;
  const end = record.completedAt ?? record.leaseUntil;
  const timed: TimelineEntry[] = [
    { kind: 'created', at: record.createdAt.toISOString(), source },
    ...steps.map((step): TimelineEntry => ({
      kind: 'step',
      at: step.updatedAt.toISOString(),
      source,
      name: step.name,
      status: step.status,
      token: step.token,
      result: view.step(step),
    })),
    // A failed record shows its release itself.
    ...remembered.filter(({ kind }) => kind !== 'released' || status !== 'failed'),
  ];
  timed.sort((a, b) => (a.at! < b.at! ? -1 : a.at! > b.at! ? 1 : 0));
  const isSeen = timed.some((entry) => entry.kind === 'attempt' && entry.attempt === attempt);
  if (attempt > 1 && !isSeen) {
    const takenOver = record.takenFrom === 'processing' || record.takenFrom === 'held';
    // The record has no time for it: it came before its own steps.
    const after = timed.findIndex((entry) => entry.kind === 'step' && entry.token === record.token);
    timed.splice(after === -1 ? timed.length : after, 0, { kind: 'attempt', at: null, source, attempt, takenOver });
  }
  const last: TimelineEntry[] = [];
  if (status === 'done') {
    last.push({ kind: 'completed', at: end.toISOString(), source, responseCode });
  } else if (status === 'failed') {
    last.push({ kind: 'released', at: record.leaseUntil.toISOString(), source, responseCode });
  } else {
    const past = status === 'held' || abandoned;
    last.push({ kind: 'lease', at: record.leaseUntil.toISOString(), source, past });
    if (status === 'held' && !timed.some(({ kind }) => kind === 'held')) {
      last.push({ kind: 'held', at: record.leaseUntil.toISOString(), source, responseCode });
    }
  }
  if (!neverExpires(record)) {
    last.push({ kind: 'expires', at: record.expiresAt.toISOString(), source, past: expired });
  }
  return placed(timed, last);
}

/** What has happened by the time of an outcome. */
const BEFORE_OUTCOME: readonly TimelineEntry['kind'][] = ['created', 'attempt', 'step'];

/**
 * Inserts entries by their time. Replays come after the outcome that they replay, even at the same millisecond. Attempts come before their
 * outcome, even if this process, which remembers them, is ahead of the database by a millisecond.
 */
function placed(timed: readonly TimelineEntry[], last: readonly TimelineEntry[]): TimelineEntry[] {
  const timeline = [...timed];
  for (const entry of last) {
    const isOutcome = entry.kind === 'completed' || entry.kind === 'released';
    const isEarlier = ({ kind, at }: TimelineEntry) =>
      at === null || at <= entry.at! || (isOutcome && BEFORE_OUTCOME.includes(kind));
    const after = timeline.findIndex((other) => !isEarlier(other));
    timeline.splice(after === -1 ? timeline.length : after, 0, entry);
  }
  return timeline;
}
