import type { Plan } from './plan.js';
import { unifiedDiff } from './unified-diff.js';

export function diffOf({ changes }: Plan): string {
  return changes.map(({ path, before, after }) => unifiedDiff(path, before, after)).join('\n');
}

/** Returns what is left to do by hand, and what to know. */
export function remarksOn({ changes, manual, notes, install }: Plan): string[] {
  const isDone = changes.length === 0 && manual.length === 0 && !install;
  return [
    ...manual.map(({ where, lines }) => `To add by hand, ${where}:\n\n${indented(lines)}\n`),
    ...notes.map((text) => `Note: ${text.replace(/\n(?=.)/g, '\n  ')}`),
    ...(install ? [`To install: ${install}`] : []),
    ...(isDone ? ['Nothing to do'] : []),
  ];
}

function indented(lines: string): string {
  return lines.replace(/^(?=.)/gm, '  ');
}
