import type { Command } from '../command.js';
import { ExitCode } from '../exit-codes.js';
import { recordIdOf, WHICH_RECORD } from '../which-record.js';

export const forget: Command = {
  name: 'forget',
  operands: '[<recordId>]',
  summary: 'Deletes a record, whatever its state: the next request with its key runs',
  options: WHICH_RECORD,
  arity: [0, 1],
  async run(invocation) {
    const { terminal, json } = invocation;
    const id = recordIdOf(invocation);
    const forgotten = await (await invocation.service()).forget(id);
    if (json) terminal.json({ id, forgotten });
    else if (forgotten) terminal.print(`Forgotten: ${id}`);
    else terminal.note(`There is no record ${id}`);
    return forgotten ? ExitCode.fine : ExitCode.refused;
  },
};
