/** Module hooks of runner.mjs: TypeScript, compiled as jest compiles it, and a `@jest/globals` that works outside of jest's modules. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { compileModule } from '../swc.mjs';

const JEST_GLOBALS = new URL('jest-globals.mjs', import.meta.url).href;

/** @type {import('node:module').ResolveHook} */
export function resolve(specifier, context, next) {
  if (specifier === '@jest/globals') return { url: JEST_GLOBALS, shortCircuit: true };
  // Sources import './x.js', as TypeScript wants it.
  if (specifier.startsWith('.') && context.parentURL?.endsWith('.ts')) {
    const source = new URL(specifier.replace(/\.js$/, '.ts'), context.parentURL);
    if (source.pathname.endsWith('.ts') && existsSync(source)) return { url: source.href, shortCircuit: true };
  }
  return next(specifier, context);
}

/** @type {import('node:module').LoadHook} */
export async function load(url, context, next) {
  if (!url.endsWith('.ts')) return next(url, context);
  return { format: 'module', source: await compileModule(fileURLToPath(url)), shortCircuit: true };
}
