#!/usr/bin/env node
import 'reflect-metadata';
import { Terminal } from './output/terminal.js';
import { run } from './run.js';

process.exitCode = await run(
  process.argv.slice(2),
  process.env,
  new Terminal(process.stdout, process.stderr, process.env),
);
// The doctor leaves an application as it is: its hooks have not been called, so that none is called at the end. What it keeps
// open would keep this process; what was printed is waited for.
process.stdout.write('', () => setTimeout(() => process.exit(), 100).unref());
