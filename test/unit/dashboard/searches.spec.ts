import type { RecordPage } from '../../../lib/dashboard/contract.js';
import { Dashboard } from '../../../lib/dashboard/dashboard.js';
import type { PageQuery } from '../../../lib/dashboard/record-pages.js';

test('pages share a search, and no more than four run', async () => {
  const parts = { dataSource: {}, store: {}, options: { defaults: {} } };
  const dashboard = new Dashboard({ parts } as never, { actions: true, content: true, redact: [] });
  const asked: (() => void)[] = [];
  const pages = dashboard['pages'] as { page(query: PageQuery): Promise<RecordPage> };
  pages.page = (query) =>
    new Promise((resolve) => asked.push(() => resolve({ scanned: query.limit } as unknown as RecordPage)));
  const list = (limit: number) => dashboard.list({ order: 'newest', limit });

  const running = [list(1), list(1), list(2), list(3), list(4)];
  expect(asked.length).toBe(4);
  await expect(list(5)).rejects.toMatchObject({ code: 'too-many-clients', status: 503 });
  for (const answer of asked.splice(0)) answer();
  expect((await Promise.all(running)).map(({ scanned }) => scanned)).toEqual([1, 1, 2, 3, 4]);

  const next = list(5);
  asked.splice(0)[0]();
  expect(await next).toMatchObject({ scanned: 5 });
});
