import type { Command } from '../command.js';
import { ExitCode } from '../exit-codes.js';
import { Progress } from '../output/progress.js';
import { wholeNumber } from '../values.js';

export const purge: Command = {
  name: 'purge',
  operands: '',
  summary: 'Deletes expired records now, in batches',
  options: { batch: { type: 'string', value: '<n>', description: 'records per statement; default: 1000' } },
  arity: [0, 0],
  async run(invocation) {
    const { terminal, json, text } = invocation;
    const service = await invocation.service({ batch: wholeNumber('batch', text('batch')) });
    // Counting reads the whole table: only where a person sees the bar.
    const progress = terminal.drawable && new Progress(terminal, (await service.stats()).expired);
    const purged = await service.purgeExpired((sofar) => progress?.show(sofar)).finally(() => progress?.end());
    if (json) terminal.json({ purged });
    else terminal.print(`Deleted ${purged} expired record${purged === 1 ? '' : 's'}`);
    return ExitCode.fine;
  },
};
