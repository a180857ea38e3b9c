import { randomUUID } from 'node:crypto';
import type { Cluster } from '../../support/cluster.js';
import { type Answer, callUntilDefinitive } from '../../support/http-client.js';

export interface Operation {
  readonly route: string;
  readonly name: string;
  readonly key: string;
  readonly body: object;
}

export function operations(route: string, count: number, body: object = {}): Operation[] {
  return Array.from({ length: count }, () => {
    const key = randomUUID();
    return { route, name: key, key, body: { name: key, ...body } };
  });
}

/** Sends each operation several times at once to all processes, again until every answer is definitive. */
export async function answersTo(
  cluster: Cluster,
  asked: readonly Operation[],
  duplicates = 4,
  timeoutMs = 45_000,
): Promise<Map<Operation, readonly Answer[]>> {
  const all = asked.map(async (operation) => {
    const { key, body, route } = operation;
    const answers = Array.from({ length: duplicates }, () =>
      callUntilDefinitive(cluster.urls(route), { key, body }, { timeoutMs }),
    );
    return [operation, await Promise.all(answers)] as const;
  });
  return new Map(await Promise.all(all));
}

/** Every duplicate got the same bytes, and each operation has one effect. */
export async function expectOnce(cluster: Cluster, answers: ReadonlyMap<Operation, readonly Answer[]>): Promise<void> {
  for (const [{ name }, given] of answers) {
    expect(new Set(given.map(({ status, body }) => `${status} ${body}`))).toEqual(new Set([`201 ${given[0].body}`]));
    expect({ name, effects: (await cluster.effects(name)).length }).toEqual({ name, effects: 1 });
  }
}

/** Every operation is answered as it was before. */
export async function expectReplays(
  cluster: Cluster,
  answers: ReadonlyMap<Operation, readonly Answer[]>,
): Promise<void> {
  const replays = await answersTo(cluster, [...answers.keys()], 1);
  for (const [operation, [before]] of answers) {
    const [now] = replays.get(operation)!;
    expect({ body: now.body, replayed: now.headers['idempotent-replayed'] }).toEqual({
      body: before.body,
      replayed: 'true',
    });
  }
}
