#!/usr/bin/env node
import 'reflect-metadata';
import { Terminal } from './output/terminal.js';
import { run } from './run.js';

process.exitCode = await run(
  process.argv.slice(2),
  process.env,
  new Terminal(process.stdout, process.stderr, process.env),
);
