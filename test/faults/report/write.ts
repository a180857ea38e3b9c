import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RunResult } from '../lab/lab.js';
import { countBy } from './table.js';
import { timelineOf } from './timeline.js';

/** Leaves a report beside the history of a run, and drawings of what broke a guarantee. */
export function writeReport({ settings, history, violations, tookMs, output }: RunResult): void {
  const kinds = countBy(history.map(({ kind }) => kind));
  const faults = countBy(history.flatMap((entry) => (entry.kind === 'fault' ? [entry.fault] : [])));
  const report = { settings, tookMs, kinds, faults, violations };
  writeFileSync(join(settings.folder, 'report.json'), JSON.stringify(report, null, 2));
  writeFileSync(join(settings.folder, 'output.txt'), output);
  if (violations.length) writeFileSync(join(settings.folder, 'timeline.html'), timelineOf(history, violations));
}
