import { bytes } from '../output/format.js';
import { type Findings, hint, ok, warning } from './finding.js';
import type { Subject } from './subject.js';

const BLOATED_BYTES = 100 * 1_024 ** 2;

export async function* sqliteSettings({ dataSource, application, processes }: Subject): Findings {
  const pragma = async (name: string) => {
    const [row] = await dataSource.query<Record<string, string | number>[]>(`PRAGMA ${name}`);
    return Object.values(row)[0];
  };
  const journal = await pragma('journal_mode');
  if (journal === 'memory') {
    yield hint(
      'sqlite.journal_mode',
      'The database is in memory: all keys are lost when the process ends',
      'Use it for tests only',
    );
  } else if (journal !== 'wal') {
    yield warning(
      'sqlite.journal_mode',
      `journal_mode = ${journal}: a process that reads blocks all that write, and the other way round`,
      'Set `enableWAL: true` in the options of the data source, or PRAGMA journal_mode = WAL once: the file keeps it',
    );
  } else yield ok('sqlite.journal_mode', 'journal_mode = wal: reading and writing do not block each other');
  // Both belong to a connection, and the doctor's own has not the application's settings.
  if (application.isKnown) {
    if (Number(await pragma('synchronous')) === 0) {
      yield warning(
        'sqlite.synchronous',
        'synchronous = OFF: a crash of the machine loses keys that were acknowledged, or damages the file',
        'Leave it at NORMAL or FULL',
      );
    }
    if (processes > 1 && Number(await pragma('busy_timeout')) === 0) {
      yield warning(
        'sqlite.busy_timeout',
        'busy_timeout = 0: a process that finds the file locked by another fails at once',
        'Set `timeout: 5000` in the options of the data source',
      );
    }
  }
  const [pages, free, size] = [
    await pragma('page_count'),
    await pragma('freelist_count'),
    await pragma('page_size'),
  ].map(Number);
  if (free * size > BLOATED_BYTES && free > pages / 2) {
    yield hint(
      'sqlite.bloat',
      `The file takes ${bytes(pages * size)}, of which ${bytes(free * size)} are free`,
      'The space is used again. To give it back: VACUUM, which locks the file meanwhile',
    );
  }
}
