#!/usr/bin/env node
import 'reflect-metadata';
import { Terminal } from './output/terminal.js';

// `list | head` closes the pipe: the rest of the output is not wanted, and the exit code is the command's.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

// A dynamic import: where `init` is called, TypeORM may not be installed yet.
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
// A statement without an answer, or an application that the doctor loaded, would keep the process alive. The empty write waits for
// the output: `process.exit()` would cut it off in a pipe.
process.stdout.write('', () => setTimeout(() => process.exit(), 100).unref());
