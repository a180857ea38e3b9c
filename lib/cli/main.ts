#!/usr/bin/env node
import 'reflect-metadata';
import { Terminal } from './output/terminal.js';
import { run } from './run.js';

process.exitCode = await run(
  process.argv.slice(2),
  process.env,
  new Terminal(process.stdout, process.stderr, process.env),
);
// A statement that never ends, and an application that the doctor has loaded and calls no hook of, would keep this process. What
// was printed is waited for.
process.stdout.write('', () => setTimeout(() => process.exit(), 100).unref());
