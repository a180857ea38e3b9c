import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import vm from 'node:vm';
import { transform } from '@swc/core';
import ts from 'typescript';
import type * as Client from '../../../lib/client/index.js';

const FOLDER = fileURLToPath(new URL('../../../lib/client/', import.meta.url));
const ENTRY = resolve(FOLDER, 'index.ts');

/** What a page has, and nothing of node's: as an allow list. */
const PAGE = {
  AbortController,
  AbortSignal,
  Blob,
  DOMException,
  FormData,
  Headers,
  Request,
  Response,
  TextDecoder,
  TextEncoder,
  URL,
  URLSearchParams,
  clearTimeout,
  performance,
  setTimeout,
};

/** Loads the client where there are only `globals`; collects what is imported, and from where. */
async function load(globals: object) {
  const context = vm.createContext({ ...globals });
  const modules = new Map<string, Promise<vm.SourceTextModule>>();
  const imports: { readonly from: string; readonly specifier: string; readonly path: string }[] = [];

  const moduleOf = (path: string) => {
    if (!modules.has(path)) modules.set(path, compile(path));
    return modules.get(path)!;
  };
  async function compile(path: string) {
    const { code } = await transform(await readFile(path, 'utf8'), {
      swcrc: false,
      filename: path,
      module: { type: 'es6' },
      jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
    });
    return new vm.SourceTextModule(code, { context, identifier: path });
  }
  const link = async (specifier: string, from: vm.Module) => {
    const path = resolve(dirname(from.identifier), specifier.replace(/\.js$/, '.ts'));
    imports.push({ from: from.identifier, specifier, path });
    if (!specifier.startsWith('.') || !existsSync(path)) throw new Error(`${from.identifier} imports ${specifier}`);
    return moduleOf(path);
  };
  const entry = await moduleOf(ENTRY);
  await entry.link(link);
  await entry.evaluate();
  return { client: entry.namespace as typeof Client, imports, context };
}

describe('nestjs-idempotency/client in a browser', () => {
  test('imports nothing but its own files: neither packages, nor node: modules, nor the rest of the library', async () => {
    const { imports } = await load({ ...PAGE, crypto });
    expect(imports.length).toBeGreaterThan(5);
    for (const { specifier, path } of imports) {
      expect(specifier).toMatch(/^\.\//);
      expect(path.startsWith(FOLDER)).toBe(true);
    }
  });

  test("runs on a page's globals alone, and sends keys of its own making", async () => {
    const seen: (string | null)[] = [];
    const fetch = (_url: unknown, { headers }: { headers: Headers }) => {
      seen.push(headers.get('idempotency-key'));
      return Promise.resolve(new Response('{}', { status: 201 }));
    };
    const { client } = await load({ ...PAGE, crypto, fetch });
    const { attempts, definitive, key } = await client.idempotentFetch('https://shop.example/pay', {
      method: 'POST',
      body: '{}',
    });
    expect({ attempts, definitive }).toEqual({ attempts: 1, definitive: true });
    expect(seen).toEqual([key]);
  });

  test('where the context is not secure, there is no randomUUID', async () => {
    const insecure = { getRandomValues: (bytes: Uint8Array<ArrayBuffer>) => crypto.getRandomValues(bytes) };
    const keys = new Set<string>();
    const fetch = () => Promise.resolve(new Response(null, { status: 204 }));
    const { client } = await load({ ...PAGE, crypto: insecure, fetch });
    for (let i = 0; i < 100; i++) {
      const { key } = await client.idempotentFetch('http://shop.example/pay', { method: 'POST' });
      expect(key).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      keys.add(key);
    }
    expect(keys.size).toBe(100);
  });

  test("compiles against a browser's types, without node's", () => {
    const program = ts.createProgram([ENTRY], {
      module: ts.ModuleKind.ESNext,
      moduleResolution: ts.ModuleResolutionKind.Bundler,
      target: ts.ScriptTarget.ES2022,
      lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'],
      types: [],
      strict: true,
      noEmit: true,
    });
    const problems = ts.getPreEmitDiagnostics(program).map(({ messageText }) => messageText);
    expect(problems).toEqual([]);
    expect(program.getSourceFiles().some(({ fileName }) => fileName.includes('@types/node'))).toBe(false);
  }, 120_000);
});
