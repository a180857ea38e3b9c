#!/usr/bin/env node
import 'reflect-metadata';
import { Terminal } from './output/terminal.js';

// TypeORM may not be installed yet where `init` is called.
const { run } = await import('./run.js').catch((error: Error) => {
  const missing = /Cannot find package '([^']+)'/.exec(error.message)?.[1];
  if (!missing) throw error;
  console.error(`nestjs-idempotency needs ${missing}, which is not installed: npm install @nestjs/typeorm typeorm`);
  process.exit(3);
});

process.exitCode = await run(
  process.argv.slice(2),
  process.env,
  new Terminal(process.stdout, process.stderr, process.env),
);
// A statement that never ends, and an application that the doctor has loaded and calls no hook of, would keep this process. What
// was printed is waited for.
process.stdout.write('', () => setTimeout(() => process.exit(), 100).unref());
