import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import type { Subscription } from 'rxjs';
import { ScopeDigest } from '../edges/caller/caller-digests.js';
import { type IdempotencyService, partsOf } from '../service/idempotency.service.js';
import { ActivityMemory } from './activity.js';
import { ContentView, type ContentOptions } from './content.js';
import type { Activity, Info, RecordDetail, RecordPage, RecordQuery } from './contract.js';
import { DashboardError, invalid } from './dashboard-error.js';
import { EventStreams } from './event-streams.js';
import folder from './folder.cjs';
import { actionsOn, notFound, OperatorActions } from './operator-actions.js';
import type { ResolvedDashboardOptions } from './options.js';
import { readPageFiles } from './page-files.js';
import { type PageQuery, recordId, RecordPages, summaryOf } from './record-pages.js';
import { timelineOf } from './timeline.js';

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
