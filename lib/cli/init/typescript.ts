import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { refusal } from '../exit-codes.js';
import type { TypeScript } from './source-editor.js';

/** Loads the project's own TypeScript, which reads the project's files as its build does. */
export function typeScriptOf(folder: string): TypeScript {
  const manifest = join(folder, 'package.json');
  if (!existsSync(manifest)) throw refusal('There is no package.json here: run this in the folder of a Nest project');
  const require = createRequire(manifest);
  let ts: TypeScript | undefined;
  try {
    ts = require('typescript') as TypeScript;
  } catch {
    ts = undefined;
  }
  if (typeof ts?.createSourceFile === 'function') return ts;
  throw refusal(
    'This reads the project with its own TypeScript, which is not installed, or has no JavaScript API: npm install --save-dev typescript@6',
  );
}
