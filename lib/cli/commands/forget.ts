import type { Command, Invocation } from '../command.js';
import { ExitCode } from '../exit-codes.js';
import { recordIdOf, WHICH_RECORD } from '../which-record.js';
import { scopeOf, serviceOfScope } from '../which-scope.js';

export const forget: Command = {
  name: 'forget',
  operands: '[<recordId>]',
  summary: 'Deletes a record in any state, or all records of a scope: the next request with its key runs',
  options: {
    ...WHICH_RECORD,
    scope: { ...WHICH_RECORD.scope, description: `${WHICH_RECORD.scope.description}; alone: all records of it` },
    namespace: { ...WHICH_RECORD.namespace, description: "with --key or --scope: the application's `namespace`" },
  },
  arity: [0, 1],
  async run(invocation) {
    const { terminal, json, operands, text } = invocation;
    const isOfScope =
      operands.length === 0 && ['key', 'endpoint', 'host'].every((option) => text(option) === undefined);
    const scope = isOfScope ? scopeOf(invocation) : undefined;
    if (scope !== undefined) return forgetScope(invocation, scope);
    const id = recordIdOf(invocation);
    const forgotten = await (await invocation.service()).forget(id);
    if (json) terminal.json({ recordId: id, forgotten });
    else if (forgotten) terminal.print(`Forgotten: ${id}`);
    else terminal.note(`There is no record ${id}`);
    return forgotten ? ExitCode.fine : ExitCode.refused;
  },
};

/** Exits with 1 where a record stays: an erasure is not complete, and has to be repeated. */
async function forgetScope(invocation: Invocation, scope: string): Promise<ExitCode> {
  const { terminal, json } = invocation;
  const service = await serviceOfScope(invocation);
  const forgotten = await service.forget({ scope });
  const [left] = await service.list({ scope, limit: 1 });
  if (json) terminal.json({ forgotten, complete: !left });
  else terminal.print(`Forgotten: ${forgotten} record${forgotten === 1 ? '' : 's'}`);
  if (!left) return ExitCode.fine;
  terminal.note('Records of this scope are being executed, or are new: forget it again');
  return ExitCode.refused;
}
