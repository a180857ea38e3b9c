import type { MemorySample, MemoryTrend } from '../lab/memory.js';

/** One line for each process that was watched. */
export function memoryLines(trends: readonly MemoryTrend[]): string[] {
  return trends.map(({ app, samples, operations, minutes, heap, rss, grows }) => {
    if (samples === 0) return `memory      ${app}: too short to tell`;
    const verdict = grows === undefined ? 'too short to tell' : grows ? 'GROWS' : 'flat';
    const part = (name: string, { from, to, slope }: MemoryTrend['heap']) =>
      `${name} ${mib(from)} to ${mib(to)} MiB, ${slope.toFixed(1)} bytes an operation`;
    return (
      `memory      ${app}, ${minutes.toFixed(0)} minutes, ${operations} operations, ${samples} samples: ` +
      `${part('heap', heap)}; ${part('RSS', rss)}: ${verdict}`
    );
  });
}

/** For docs/guarantees.md, below its table. */
export function memoryMarkdown(trends: readonly MemoryTrend[]): string {
  const row = ({ app, operations, minutes, heap, rss }: MemoryTrend) =>
    `| ${app} | ${minutes.toFixed(0)} | ${operations.toLocaleString('en')} | ${mib(heap.from)}, ${mib(heap.to)} | ` +
    `${heap.slope.toFixed(1)} | ${mib(rss.from)}, ${mib(rss.to)} |`;
  return [
    '| process | minutes | operations | heap after collection, first and last third, MiB | slope, bytes an operation | RSS, MiB |',
    '|---|---|---|---|---|---|',
    ...trends.filter(({ samples }) => samples > 0).map(row),
  ].join('\n');
}

export function memoryCsv(samples: readonly MemorySample[]): string {
  const lines = samples.map(
    ({ app, seconds, operations, heap, rss }) => `${app},${seconds.toFixed(1)},${operations},${heap},${rss}`,
  );
  return ['process,seconds,operations,heap bytes,rss bytes', ...lines, ''].join('\n');
}

function mib(bytes: number): string {
  return (bytes / (1 << 20)).toFixed(1);
}
