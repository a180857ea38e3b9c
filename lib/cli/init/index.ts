import { createInterface } from 'node:readline/promises';
import type { Command, Invocation } from '../command.js';
import { ExitCode, usageError } from '../exit-codes.js';
import { DiskFiles } from './files.js';
import { DATABASES, type DatabaseName, type Plan } from './plan.js';
import { planInit } from './plan-init.js';
import { diffOf, remarksOn } from './report.js';
import { typeScriptOf } from './typescript.js';

export const init: Command = {
  name: 'init',
  operand: '',
  summary: 'Sets the library up in the Nest project of this folder: shows what it would change, and asks',
  options: {
    yes: 'apply the changes without asking',
    'dry-run': 'only show the changes',
    check: 'only show them, and exit with 1 where there is something to do',
    redis: 'with Redis: a client, and what listens to its errors',
    'database <name>': `set TypeORM up too, where it is not: ${Object.keys(DATABASES).join(', ')}`,
    'project <name>': 'the project of nest-cli.json, where there are several',
  },
  async run(invocation) {
    const { terminal, json, flag, text } = invocation;
    const folder = process.cwd();
    const files = new DiskFiles(folder);
    const options = { redis: flag('redis'), database: databaseOf(text('database')), project: text('project') };
    const plan = planInit(typeScriptOf(folder), files, options);
    files.assertText(plan.changes);
    const apply = () => files.replace(plan.changes);
    if (json) {
      const isApplied = flag('yes') && !flag('dry-run') && !flag('check');
      if (isApplied) apply();
      terminal.json({ ...plan, changes: plan.changes.map(({ path }) => path), diff: diffOf(plan), applied: isApplied });
      return exitCodeOf(plan, isApplied, flag('dry-run'));
    }
    show(invocation, plan);
    const isApplied = plan.changes.length > 0 && (await isAgreed(invocation));
    if (isApplied) {
      apply();
      terminal.note(`Changed: ${plan.changes.map(({ path }) => path).join(', ')}`);
      terminal.note(
        'Next: put @Idempotent() on a handler, start the application, and run npx nestjs-idempotency doctor',
      );
    }
    return exitCodeOf(plan, isApplied, flag('dry-run'));
  },
};

function databaseOf(name: string | undefined): DatabaseName | undefined {
  if (name === undefined || Object.hasOwn(DATABASES, name)) return name as DatabaseName | undefined;
  throw usageError(`--database must be one of ${Object.keys(DATABASES).join(', ')}`);
}

function show({ terminal }: Invocation, plan: Plan): void {
  terminal.note(`Found: ${plan.found.join('; ')}`);
  if (plan.changes.length > 0) terminal.print(coloured(terminal, diffOf(plan)));
  for (const remark of remarksOn(plan)) terminal.note(remark);
}

function coloured(terminal: Invocation['terminal'], diff: string): string {
  const styles = { '+': 'green', '-': 'red', '@': 'cyan' } as const;
  const paint = (line: string) => {
    if (/^(---|\+\+\+) /.test(line)) return terminal.style('bold', line);
    const style = styles[line[0] as keyof typeof styles] as 'green' | undefined;
    return style ? terminal.style(style, line) : line;
  };
  return diff.split('\n').map(paint).join('\n');
}

/** Returns whether `--yes`, or the answer at the terminal, allows the changes. */
async function isAgreed({ terminal, flag }: Invocation): Promise<boolean> {
  if (flag('dry-run') || flag('check')) return false;
  if (flag('yes')) return true;
  if (!process.stdin.isTTY) {
    terminal.note('Nothing was changed: give --yes to apply this');
    return false;
  }
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    // Ctrl-C and Ctrl-D mean no.
    const answer = await prompt.question('Apply these changes? [y/N] ').catch(() => '');
    if (/^y(es)?$/i.test(answer.trim())) return true;
    terminal.note('Nothing was changed');
    return false;
  } finally {
    prompt.close();
  }
}

/** 1 if something is left to do, except with `--dry-run`. */
function exitCodeOf({ changes, manual }: Plan, isApplied: boolean, isDryRun: boolean): ExitCode {
  if (isDryRun) return ExitCode.fine;
  return manual.length > 0 || (changes.length > 0 && !isApplied) ? ExitCode.refused : ExitCode.fine;
}
