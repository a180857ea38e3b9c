import { createRequire } from 'node:module';
import { join } from 'node:path';
import { refusal } from '../exit-codes.js';
import type { TypeScript } from './source-editor.js';

/** The project's own TypeScript, which reads what the project's files say as its build does. */
export function typeScriptOf(folder: string): TypeScript {
  const require = createRequire(join(folder, 'package.json'));
  let ts: TypeScript | undefined;
  try {
    ts = require('typescript') as TypeScript;
  } catch {
    ts = undefined;
  }
  if (typeof ts?.createSourceFile === 'function') return ts;
  throw refusal(
    `This reads the project with its own TypeScript, which is not installed, or has no JavaScript API: npm install --save-dev typescript@6`,
  );
}
