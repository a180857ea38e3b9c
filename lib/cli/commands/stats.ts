import type { Command } from '../command.js';
import { sizeOnDisk } from '../database/size-on-disk.js';
import { ExitCode } from '../exit-codes.js';
import { bytes, instant } from '../output/format.js';
import { pairs } from '../output/table.js';

export const stats: Command = {
  name: 'stats',
  operand: '',
  summary: 'Counts records by state, with their age and size; reads the whole table',
  options: {},
  async run({ terminal, dataSource, service, result }) {
    const counted = await (await service()).stats();
    const onDisk = await sizeOnDisk(await dataSource());
    const { byStatus } = counted;
    const lines: [string, string][] = [
      ['records', String(counted.total)],
      ['  processing', `${byStatus.processing}${counted.abandoned ? ` (${counted.abandoned} abandoned)` : ''}`],
      ['  done', String(byStatus.done)],
      ['  failed', `${byStatus.failed}${counted.unfinished ? ` (${counted.unfinished} unfinished)` : ''}`],
      ['  held', terminal.style(byStatus.held ? 'red' : 'reset', String(byStatus.held))],
      ['expired', `${counted.expired}, not deleted yet`],
      ['expiring', `${counted.expiringWithinAnHour} within an hour`],
      ['oldest', counted.oldest ? instant(counted.oldest) : ''],
      ['oldest held', counted.oldestHeld ? instant(counted.oldestHeld) : ''],
      ['content', bytes(counted.storedBytes)],
      ['on disk', onDisk === null ? '' : `${bytes(onDisk)} with indexes and steps`],
    ];
    result({ ...counted, bytesOnDisk: onDisk }, pairs(lines.filter(([, value]) => value !== '')));
    return ExitCode.fine;
  },
};
