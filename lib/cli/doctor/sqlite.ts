import { bytes } from '../output/format.js';
import { type Finding, hint, ok, warning } from './finding.js';
import type { Subject } from './subject.js';

const BLOATED_BYTES = 100 * 1_024 ** 2;

export async function sqliteSettings({ dataSource, application, processes }: Subject): Promise<Finding[]> {
  const pragma = async (name: string) => {
    const [row] = await dataSource.query<Record<string, string | number>[]>(`PRAGMA ${name}`);
    return Object.values(row)[0];
  };
  const findings: Finding[] = [];
  const journal = await pragma('journal_mode');
  if (journal === 'memory') {
    findings.push(
      hint(
        'sqlite.journal_mode',
        'The database is in memory: all keys are forgotten when the process ends',
        'For tests alone',
      ),
    );
  } else if (journal !== 'wal') {
    findings.push(
      warning(
        'sqlite.journal_mode',
        `journal_mode = ${journal}: a process that reads blocks all that write, and the other way round`,
        'Set `enableWAL: true` in the options of the data source, or PRAGMA journal_mode = WAL once: the file keeps it',
      ),
    );
  } else findings.push(ok('sqlite.journal_mode', 'journal_mode = wal: reading and writing do not block each other'));
  // Both belong to a connection: those of the doctor's own say nothing.
  if (application.isKnown) {
    if (Number(await pragma('synchronous')) === 0) {
      findings.push(
        warning(
          'sqlite.synchronous',
          'synchronous = OFF: a crash of the machine forgets keys that were acknowledged, or damages the file',
          'Leave it at NORMAL or FULL',
        ),
      );
    }
    if (processes > 1 && Number(await pragma('busy_timeout')) === 0) {
      findings.push(
        warning(
          'sqlite.busy_timeout',
          'busy_timeout = 0: a process that meets another at the file gives up at once',
          'Set `timeout: 5000` in the options of the data source',
        ),
      );
    }
  }
  const [pages, free, size] = [
    await pragma('page_count'),
    await pragma('freelist_count'),
    await pragma('page_size'),
  ].map(Number);
  if (free * size > BLOATED_BYTES && free > pages / 2) {
    findings.push(
      hint(
        'sqlite.bloat',
        `The file takes ${bytes(pages * size)}, of which ${bytes(free * size)} are free`,
        'The space is used again. To give it back: VACUUM, which locks the file meanwhile',
      ),
    );
  }
  return findings;
}
