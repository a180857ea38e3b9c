import type { Plan } from './plan.js';
import { unifiedDiff } from './unified-diff.js';

export function diffOf({ changes }: Plan): string {
  return changes.map(({ path, before, after }) => unifiedDiff(path, before, after)).join('\n');
}

/** What is left to do by hand, and what to know: nothing for a project that has everything. */
export function remarksOn({ manual, notes, install }: Plan): string[] {
  return [
    ...manual.map(({ where, lines }) => `To add by hand, ${where}:\n\n${indented(lines)}\n`),
    ...notes.map((text) => `Note: ${text.replace(/\n(?=.)/g, '\n  ')}`),
    ...(install ? [`To install: ${install}`] : []),
  ];
}

function indented(lines: string): string {
  return lines.replace(/^(?=.)/gm, '  ');
}
