import { isPast, millisecondsAgo } from '../../../lib/store/dialects/clock.js';
import { IdempotencyRecord } from '../../../lib/store/entities/index.js';
import { aClaim, BACKENDS, Bench, HOUR } from './support.js';

describe.each(BACKENDS)('The clock of $name', (backend) => {
  let bench: Bench;
  beforeAll(async () => {
    bench = await Bench.open(backend);
  });
  afterAll(() => bench?.close());

  async function ask(recordId: string, expression: string): Promise<unknown> {
    const { answer } = (await bench.dataSource
      .createQueryBuilder(IdempotencyRecord, 'r')
      .select(`CASE WHEN ${expression} THEN 1 ELSE 0 END`, 'answer')
      .where({ id: recordId })
      .getRawOne<{ answer: unknown }>())!;
    return Number(answer) === 1;
  }

  it('says whether an instant is past, or will be', async () => {
    const { recordId } = await bench.store().claim(aClaim({ leaseMs: HOUR }));
    expect(await ask(recordId, isPast(bench.dataSource, 'r.leaseUntil'))).toBe(false);
    expect(await ask(recordId, isPast(bench.dataSource, 'r.leaseUntil', 0.9 * HOUR))).toBe(false);
    expect(await ask(recordId, isPast(bench.dataSource, 'r.leaseUntil', 1.1 * HOUR))).toBe(true);
    expect(await ask(recordId, isPast(bench.dataSource, 'r.createdAt'))).toBe(true);
  });

  it('says for how long it has been past', async () => {
    const { recordId } = await bench.store().claim(aClaim({ leaseMs: HOUR }));
    await bench.age(recordId, 'created_at', HOUR);
    const ago = millisecondsAgo(bench.dataSource, 'r.createdAt');
    expect(await ask(recordId, `${ago} >= ${HOUR}`)).toBe(true);
    expect(await ask(recordId, `${ago} < ${2 * HOUR}`)).toBe(true);
  });
});
