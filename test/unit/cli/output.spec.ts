import { PassThrough } from 'node:stream';
import { redacting } from '../../../lib/cli/database/redact.js';
import { bytes, printable, when } from '../../../lib/cli/output/format.js';
import { Progress } from '../../../lib/cli/output/progress.js';
import { table } from '../../../lib/cli/output/table.js';
import { Terminal } from '../../../lib/cli/output/terminal.js';

function screen({ isTTY = true, env = {} } = {}) {
  const streams = [new PassThrough(), new PassThrough()].map((stream) => Object.assign(stream, { isTTY }));
  const terminal = new Terminal(...(streams as never[] as [never, never]), env);
  const read = (stream: PassThrough) => (stream.read() as Buffer | null)?.toString() ?? '';
  return { terminal, out: () => read(streams[0]), err: () => read(streams[1]) };
}

describe('progress', () => {
  test('is drawn on stderr, over itself, and wiped at the end', () => {
    const { terminal, out, err } = screen();
    const progress = new Progress(terminal, 200);
    progress.show(50);
    progress.show(100);
    progress.end();
    const drawn = err();
    expect(drawn).toMatch(/^\r█+░+ 25 % {2}50 of 200/);
    expect(drawn).toContain('50 %  100 of 200');
    expect(drawn.endsWith('\r\x1b[K')).toBe(true);
    expect(out()).toBe('');
  });

  test('is not drawn into a file', () => {
    const { terminal, err } = screen({ isTTY: false });
    const progress = new Progress(terminal, 200);
    progress.show(50);
    progress.end();
    expect(err()).toBe('');
  });

  test('more than was expected is no more than all', () => {
    const { terminal, err } = screen();
    new Progress(terminal, 10).show(12);
    expect(err()).toContain('100 %  12 of 10');
  });
});

test('colours are for terminals, where NO_COLOR is not set', () => {
  expect(screen().terminal.style('red', 'x')).toContain('\x1b[31m');
  expect(screen({ isTTY: false }).terminal.style('red', 'x')).toBe('x');
  expect(screen({ env: { NO_COLOR: '1' } }).terminal.style('red', 'x')).toBe('x');
});

test('columns are as wide as what is seen of them', () => {
  expect(table(['A', 'B'], [['\x1b[31mred\x1b[39m', '1']])).toBe('A    B\n\x1b[31mred\x1b[39m  1');
});

test.each([
  [0, '0 B'],
  [1_023, '1023 B'],
  [1_536, '1.5 KiB'],
  [200 * 1_024 ** 2, '200 MiB'],
])('%d bytes are %s', (count, text) => expect(bytes(count)).toBe(text));

test('times are printed as distances', () => {
  const now = Date.now();
  expect(when(new Date(now - 3 * 3_600_000), now)).toBe('3h ago');
  expect(when(new Date(now + 90_000), now)).toBe('in 1m');
});

test('what is printed commands no terminal, and JSON stays JSON', () => {
  const { terminal, out, err } = screen();
  terminal.print(
    `\x1b]0;t\x07\x9b2J\x1b[8m\r${terminal.style('red', 'held')}\tb\r\nc\n${terminal.style('green', '+d\r')}\n`,
  );
  expect(out()).toBe('\\x1b]0;t\\x07\\x9b2J\\x1b[8m\\x0d\x1b[31mheld\x1b[39m\tb\r\nc\n\x1b[32m+d\r\x1b[39m\n\n');
  const value = { name: 'a\x9b2J\x7f\x1b' };
  terminal.json(value);
  const json = out();
  expect(json).toContain('a\\u009b2J\\u007f\\u001b');
  expect(JSON.parse(json)).toEqual(value);
  terminal.note('duplicate entry \x1b[2J');
  expect(err()).toBe('duplicate entry \\x1b[2J\n');
});

test('control characters are not the terminal’s', () => {
  expect(printable(Buffer.from('a\tb\n\x1b]0;x\x07'))).toBe('a\tb\n\\x1b]0;x\\x07');
});

test.each([
  'postgres://me:hunter2hunter2@h/d',
  'postgres://me:hunter2%21@h/d',
  'postgres://me:hunter2/#@h:x/d',
  'mysql://:hunter2@h/d',
])('%s is not repeated', (url) => {
  const clean = redacting(url);
  const said = clean(`cannot connect to ${url}, that is ${decodeURIComponent(url)}: ECONNREFUSED`);
  expect(said).not.toContain('hunter2');
  expect(said).toContain('ECONNREFUSED');
});

test('a password that is a short word does not make messages unreadable', () => {
  expect(redacting('mysql://t:t@h/d')('not here')).toBe('not here');
});
