/**
 * `npm run bench:anatomy`: promises, timers and bytes of each kind of request, for the bare handler, the floor and the library,
 * at 32 connections.
 *
 * `--platform`, `--app` and `--kind` choose some of them, `--node 24` has the applications run on that version of Node.
 * `--connections 1` sends one request at a time, so that no statement is shared. `--top 40` prints the packages and the functions
 * that allocate most.
 */
import { parseArgs } from 'node:util';
import { ALL_KINDS, APPS, measureAnatomy, REQUESTS } from './suites/anatomy.mjs';
import { Load } from './support/load.mjs';
import { nodeOf } from './support/nodes.mjs';
import { packageOf } from './support/package-of.mjs';
import { anatomyTable, fixed } from './support/report.mjs';

const { values } = parseArgs({
  options: {
    platform: { type: 'string', default: 'fastify,express' },
    app: { type: 'string', default: APPS.join() },
    kind: { type: 'string', default: ALL_KINDS.join() },
    connections: { type: 'string', default: '32' },
    requests: { type: 'string', default: `${REQUESTS}` },
    node: { type: 'string', default: process.versions.node },
    top: { type: 'string', default: '0' },
  },
});
const { version, path } = nodeOf(Number.parseInt(values.node, 10));
const requests = Number(values.requests);
const load = new Load();
const options = {
  load,
  node: path,
  apps: values.app.split(','),
  kinds: /** @type {typeof ALL_KINDS} */ (values.kind.split(',')),
  connections: Number(values.connections),
  requests,
};

try {
  for (const platform of /** @type {('express' | 'fastify')[]} */ (values.platform.split(','))) {
    const found = await measureAnatomy(platform, options);
    console.log(`\n${platform}, Node ${version.slice(1)}, ${values.connections} connections, amounts a request`);
    console.log(anatomyTable(found));
    if (Number(values.top))
      for (const [name, { heap }] of Object.entries(found)) printTop(`${platform}, ${name}`, heap);
  }
} finally {
  load.close();
}

/**
 * @param {string} title
 * @param {import('./support/anatomy.mjs').HeapNode} heap
 */
function printTop(title, heap) {
  /** @type {Map<string, number>} */
  const packages = new Map();
  /** @type {Map<string, number>} */
  const functions = new Map();
  const add = (/** @type {import('./support/anatomy.mjs').HeapNode} */ { callFrame, selfSize, children }) => {
    const { functionName, url, lineNumber } = callFrame;
    const name = packageOf(url, functionName);
    const at = `${name} ${functionName || '(anonymous)'} ${url.split('/').slice(-2).join('/')}:${lineNumber + 1}`;
    packages.set(name, (packages.get(name) ?? 0) + selfSize);
    functions.set(at, (functions.get(at) ?? 0) + selfSize);
    for (const child of children) add(child);
  };
  add(heap);
  for (const of of [packages, functions]) {
    console.log(`\n${title}, bytes a request`);
    const sorted = [...of].sort(([, a], [, b]) => b - a).slice(0, Number(values.top));
    for (const [name, bytes] of sorted) console.log(`${fixed(bytes / requests, 0).padStart(8)}  ${name}`);
  }
}
