/**
 * `node bench/profile.mjs [path] [platform] [fresh | replay] [ours | floor | bare] [Redis nodes]`, after a build: where the time of
 * a request goes in the application's process, by package, from node's own profiler. `BENCH_TOP=40` lists functions too.
 */
import { Load } from './support/load.mjs';
import { packageOf } from './support/package-of.mjs';
import { Stage } from './support/stage.mjs';

const [path = '/charges', platform = 'express', kind = 'fresh', app = 'ours', nodes = '0'] = process.argv.slice(2);
const load = new Load();
try {
  await Stage.use(process.env.BENCH_NODE ?? process.execPath, async (stage) => {
    const postgres = await stage.postgres();
    const database = await postgres.createDatabase('bench');
    const redis = await stage.redis(Number(nodes));
    const on = /** @type {any} */ ({ platform, postgres, database, redis });
    // The migrations of `ours` make the floor's table.
    if (app === 'floor') await stage.place('ours', on);
    const profiled = (await stage.place(/** @type {'ours' | 'floor' | 'bare'} */ (app), on)).app;
    const job = { port: profiled.port, path, connections: 32, warmUpMs: 0 };
    /** @type {(prefix: string) => import('./support/load-generator.mjs').Keys} */
    const keys = (prefix) =>
      kind === 'replay' ? { kind: 'cycle', prefix: 'p', count: 500 } : { kind: 'fresh', prefix };
    await load.run({ ...job, ms: 2000, keys: keys('w') });
    await profiled.ask({ ask: 'profile' });
    const result = await load.run({ ...job, ms: Number(process.env.BENCH_MS ?? 8000), keys: keys('p') });
    const { profile } = await profiled.ask({ ask: 'profiled' });
    console.log(`${[app, path, platform, kind].join(' ')}, ${nodes} Redis: ${Math.round(result.perSecond)}/s`);
    report(profile, result.total);
  });
} finally {
  load.close();
}

/**
 * @param {{ nodes: ProfileNode[], samples: number[], timeDeltas: number[] }} profile
 * @param {number} requests
 *
 * @typedef {{ id: number, callFrame: { functionName: string, url: string, lineNumber: number } }} ProfileNode
 */
function report({ nodes, samples, timeDeltas }, requests) {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  /** @type {Map<string, number>} */
  const packages = new Map();
  /** @type {Map<string, number>} */
  const functions = new Map();
  samples.forEach((id, i) => {
    const { functionName, url, lineNumber } = /** @type {ProfileNode} */ (byId.get(id)).callFrame;
    if (functionName === '(idle)') return;
    const name = packageOf(url, functionName);
    const at = `${name} ${functionName || '(anonymous)'} ${url.split('/').slice(-2).join('/')}:${lineNumber + 1}`;
    packages.set(name, (packages.get(name) ?? 0) + timeDeltas[i]);
    functions.set(at, (functions.get(at) ?? 0) + timeDeltas[i]);
  });
  const print = (/** @type {Map<string, number>} */ of, /** @type {number} */ count) => {
    const sorted = [...of].sort(([, a], [, b]) => b - a).slice(0, count);
    for (const [name, us] of sorted) console.log(`${(us / requests).toFixed(1).padStart(8)} us  ${name}`);
  };
  console.log('Time of its own, a request:');
  print(packages, 30);
  print(functions, Number(process.env.BENCH_TOP ?? 0));
}
