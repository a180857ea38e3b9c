const CONTEXT = 3;

interface Line {
  readonly mark: ' ' | '-' | '+';
  readonly text: string;
}

/** Returns the difference of two texts, as `patch` and `git apply` read it. */
export function unifiedDiff(path: string, before: string, after: string): string {
  const lines = compare(linesOf(before), linesOf(after));
  const hunks = hunksOf(lines).map(([from, to]) => hunk(lines, from, to));
  return [`--- a/${path}`, `+++ b/${path}`, ...hunks].join('\n');
}

function linesOf(text: string): string[] {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

/** Compares by a longest common subsequence, after the lines that both texts begin and end with. */
function compare(before: readonly string[], after: readonly string[]): Line[] {
  const shortest = Math.min(before.length, after.length);
  let head = 0;
  while (head < shortest && before[head] === after[head]) head++;
  let tail = 0;
  while (tail < shortest - head && before.at(-1 - tail) === after.at(-1 - tail)) tail++;
  const [old, young] = [before.slice(head, before.length - tail), after.slice(head, after.length - tail)];
  const same = (text: string): Line => ({ mark: ' ', text });
  return [
    ...before.slice(0, head).map(same),
    ...compareMiddle(old, young),
    ...before.slice(before.length - tail).map(same),
  ];
}

function compareMiddle(old: readonly string[], young: readonly string[]): Line[] {
  const common = Array.from({ length: old.length + 1 }, () => new Uint32Array(young.length + 1));
  for (let i = old.length - 1; i >= 0; i--) {
    for (let j = young.length - 1; j >= 0; j--) {
      common[i][j] = old[i] === young[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  const lines: Line[] = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < young.length) {
    if (i < old.length && j < young.length && old[i] === young[j]) {
      lines.push({ mark: ' ', text: old[i++] });
      j++;
    } else if (i < old.length && (j === young.length || common[i + 1][j] >= common[i][j + 1])) {
      lines.push({ mark: '-', text: old[i++] });
    } else {
      lines.push({ mark: '+', text: young[j++] });
    }
  }
  return lines;
}

/** Returns ranges of lines: each change with its context, merged with the next if they touch. */
function hunksOf(lines: readonly Line[]): [from: number, to: number][] {
  const hunks: [number, number][] = [];
  lines.forEach(({ mark }, at) => {
    if (mark === ' ') return;
    const [from, to] = [Math.max(0, at - CONTEXT), Math.min(lines.length, at + CONTEXT + 1)];
    const last = hunks.at(-1);
    if (last && from <= last[1]) last[1] = to;
    else hunks.push([from, to]);
  });
  return hunks;
}

function hunk(lines: readonly Line[], from: number, to: number): string {
  const count = (some: readonly Line[], not: string) => some.filter(({ mark }) => mark !== not).length;
  const range = (not: '+' | '-') => {
    const length = count(lines.slice(from, to), not);
    return `${count(lines.slice(0, from), not) + (length > 0 ? 1 : 0)},${length}`;
  };
  const body = lines.slice(from, to).map(({ mark, text }) => mark + text);
  return [`@@ -${range('+')} +${range('-')} @@`, ...body].join('\n');
}
