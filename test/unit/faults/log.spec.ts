import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Log, now, readHistory } from '../../faults/history/log.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'history-'))));
afterEach(() => rmSync(folder, { recursive: true }));

const kinds = () => readHistory(folder).map(({ kind }) => kind);

test('a history is read in the order of time, across processes', () => {
  const [one, other] = [new Log(folder, 'b'), new Log(folder, 'a')];
  one.say({ kind: 'began', op: 'one', token: 1, attempt: 1 });
  other.say({ kind: 'completed', record: 'r', token: 1, sentAt: 0 });
  one.say({ kind: 'effect', op: 'one', token: 1, attempt: 1 });
  expect(kinds()).toEqual(['began', 'completed', 'effect']);
  one.close();
  other.close();
});

test('what was said after the reading began is not part of it', () => {
  const log = new Log(folder, 'lab');
  log.say({ kind: 'healed' });
  log.say({ kind: 'healed', at: now() + 60_000 });
  expect(kinds()).toEqual(['healed']);
  log.close();
});

test('neither is a line that is not whole', () => {
  const log = new Log(folder, 'lab');
  log.say({ kind: 'healed' });
  appendFileSync(join(folder, 'lab.jsonl'), '{"at":1,"who":"lab","kind":"answer","body":"{}');
  expect(kinds()).toEqual(['healed']);
  log.close();
});

test('nor what is said once the log is closed', () => {
  const log = new Log(folder, 'lab');
  log.say({ kind: 'healed' });
  log.close();
  log.say({ kind: 'healed' });
  log.close();
  expect(kinds()).toEqual(['healed']);
});
