import type { Command } from '../command.js';
import { ExitCode } from '../exit-codes.js';
import { Progress } from '../output/progress.js';
import { wholeNumber } from '../values.js';

export const purge: Command = {
  name: 'purge',
  operand: '',
  summary: 'Deletes expired records now, in batches',
  options: { 'batch <n>': 'records per statement; default: 1000' },
  async run({ terminal, text, service: connect, result }) {
    const service = await connect({ batch: wholeNumber('batch', text('batch')) });
    // Counting reads the whole table, so only where a person sees the bar.
    const progress = terminal.drawable && new Progress(terminal, (await service.stats()).expired);
    const purged = await service.purgeExpired((sofar) => progress?.show(sofar)).finally(() => progress?.end());
    result({ purged }, `Deleted ${purged} expired record${purged === 1 ? '' : 's'}`);
    return ExitCode.fine;
  },
};
