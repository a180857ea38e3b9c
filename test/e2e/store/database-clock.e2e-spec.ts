import { instantsOf, isPast } from '../../../lib/store/dialects/clock.js';
import { IdempotencyRecord } from '../../../lib/store/entities/index.js';
import { aClaim, BACKENDS, StoreFixture, HOUR } from './support.js';

describe.each(BACKENDS)('The clock of $name', (backend) => {
  let fixture: StoreFixture;
  beforeAll(async () => {
    fixture = await StoreFixture.open(backend);
  });
  afterAll(() => fixture?.close());

  async function ask(recordId: string, expression: string): Promise<unknown> {
    const { answer } = (await fixture.dataSource
      .createQueryBuilder(IdempotencyRecord, 'r')
      .select(`CASE WHEN ${expression} THEN 1 ELSE 0 END`, 'answer')
      .where({ id: recordId })
      .getRawOne<{ answer: unknown }>())!;
    return Number(answer) === 1;
  }

  it('says whether an instant is past, or will be', async () => {
    const { recordId } = await fixture.store().claim(aClaim({ leaseMs: HOUR }));
    expect(await ask(recordId, isPast(fixture.dataSource, 'r.leaseUntil'))).toBe(false);
    expect(await ask(recordId, isPast(fixture.dataSource, 'r.leaseUntil', 0.9 * HOUR))).toBe(false);
    expect(await ask(recordId, isPast(fixture.dataSource, 'r.leaseUntil', 1.1 * HOUR))).toBe(true);
    expect(await ask(recordId, isPast(fixture.dataSource, 'r.createdAt'))).toBe(true);
  });

  it('says for how long it has been past', async () => {
    const { recordId } = await fixture.store().claim(aClaim({ leaseMs: HOUR }));
    await fixture.age(recordId, 'created_at', HOUR);
    const ago = instantsOf(fixture.dataSource).since('r.createdAt');
    expect(await ask(recordId, `${ago} >= ${HOUR}`)).toBe(true);
    expect(await ask(recordId, `${ago} < ${2 * HOUR}`)).toBe(true);
  });
});
