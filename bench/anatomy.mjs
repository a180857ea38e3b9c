/**
 * `npm run bench:anatomy`: promises, timers and bytes of each kind of request, for the bare handler, the floor and the library,
 * at 32 connections.
 *
 * `--platform`, `--app` and `--kind` choose some of them, `--connections 1` sends one request at a time, so that no statement
 * is shared. `--top 40` prints the packages and the functions that allocate most. `--node 24` has the applications run on that version of Node.
 */
import { parseArgs } from 'node:util';
import { anatomyOf, KINDS, prepareDuplicates } from './support/anatomy.mjs';
import { Load } from './support/load.mjs';
import { nodeOf } from './support/nodes.mjs';
import { packageOf } from './support/package-of.mjs';
import { fixed, table } from './support/report.mjs';
import { Stage } from './support/stage.mjs';

const { values } = parseArgs({
  options: {
    platform: { type: 'string', default: 'fastify,express' },
    app: { type: 'string', default: 'bare,floor,ours,ours with one Redis' },
    kind: { type: 'string', default: Object.keys(KINDS).join() },
    connections: { type: 'string', default: '32' },
    requests: { type: 'string', default: '4000' },
    node: { type: 'string', default: process.versions.node },
    top: { type: 'string', default: '0' },
  },
});
const apps = values.app.split(',');
const kinds = /** @type {import('./support/anatomy.mjs').Kind[]} */ (values.kind.split(','));
const counts = {
  connections: Number(values.connections),
  warmUp: 4000,
  requests: Number(values.requests),
};

const { version, path } = nodeOf(Number.parseInt(values.node, 10));
const load = new Load();
try {
  for (const platform of /** @type {('express' | 'fastify')[]} */ (values.platform.split(','))) await print(platform);
} finally {
  load.close();
}

/** @param {'express' | 'fastify'} platform */
function print(platform) {
  return Stage.use(path, async (stage) => {
    const postgres = await stage.postgres();
    const database = await postgres.createDatabase('bench');
    const on = { platform, postgres, database };
    // Its migrations make the table that the floor uses.
    const ours = await stage.place('ours', on);
    /** @type {string[][]} */
    const rows = [];
    for (const name of apps) {
      const { app } = await placed(name, ours, stage, on);
      if (name !== 'bare') await prepareDuplicates(app, load);
      for (const kind of kinds) {
        const { heap, ...found } = await anatomyOf(app, load, kind, { ...counts, bare: name === 'bare' });
        rows.push([`${kind}: ${name}`, ...[found.promises, found.timeouts, found.immediates].map((one) => fixed(one))]);
        rows.at(-1)?.push(fixed(found.bytes, 0));
        if (Number(values.top)) printTop(`${platform}, ${kind}: ${name}`, heap);
      }
    }
    rows.sort(([a], [b]) => orderOf(a) - orderOf(b));
    console.log(`\n${platform}, Node ${version.slice(1)}, ${counts.connections} connections, amounts a request`);
    console.log(table(['', 'promises', 'timeouts', 'immediates', 'bytes'], rows));
  });
}

/** @param {string} row */
function orderOf(row) {
  return kinds.findIndex((kind) => row.startsWith(`${kind}:`));
}

/**
 * @param {string} name
 * @param {import('./support/counters.mjs').Place} ours
 * @param {Stage} stage
 * @param {Parameters<Stage['place']>[1]} on
 */
async function placed(name, ours, stage, on) {
  switch (name) {
    case 'ours':
      return ours;
    case 'ours with one Redis':
      return stage.place('ours', { ...on, redis: await stage.redis(1) });
    default:
      return stage.place(/** @type {'bare' | 'floor'} */ (name), on);
  }
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
    for (const [name, bytes] of sorted) console.log(`${fixed(bytes / counts.requests, 0).padStart(8)}  ${name}`);
  }
}
