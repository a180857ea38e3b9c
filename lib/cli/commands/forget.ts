import type { Command, Invocation } from '../command.js';
import { ExitCode, refusal } from '../exit-codes.js';
import { noSuchRecord, recordIdOf, WHICH_RECORD } from '../which-record.js';
import { scopeOf, serviceOfScope } from '../which-scope.js';

export const forget: Command = {
  name: 'forget',
  operand: '[<recordId>]',
  summary: 'Deletes a record in any state, or all records of a scope: the next request with its key runs',
  options: {
    ...WHICH_RECORD,
    'scope <scope>': `${WHICH_RECORD['scope <scope>']}; alone: all records of it`,
    'namespace <name>': "with --key or --scope: the application's `namespace`",
  },
  async run(invocation) {
    const { json, operand, text, result } = invocation;
    const isOfScope =
      operand === undefined && ['key', 'endpoint', 'host'].every((option) => text(option) === undefined);
    const scope = isOfScope ? scopeOf(invocation) : undefined;
    if (scope !== undefined) return forgetScope(invocation, scope);
    const id = recordIdOf(invocation);
    const forgotten = await (await invocation.service()).forget(id);
    if (!forgotten && !json) throw noSuchRecord(id, invocation);
    result({ recordId: id, forgotten }, `Forgotten: ${id}`);
    return forgotten ? ExitCode.fine : ExitCode.refused;
  },
};

/** Exits with 1 if a record remains: the erasure is incomplete, and has to be repeated. */
async function forgetScope(invocation: Invocation, scope: string): Promise<ExitCode> {
  const service = await serviceOfScope(invocation);
  const forgotten = await service.forget({ scope });
  const [left] = await service.list({ scope, limit: 1 });
  invocation.result({ forgotten, complete: !left }, `Forgotten: ${forgotten} record${forgotten === 1 ? '' : 's'}`);
  if (!left) return ExitCode.fine;
  throw refusal('Records of this scope are being executed, or are new: forget it again');
}
