import { removeFolder } from './servers.mjs';

export default async function globalTeardown() {
  const run = /** @type {{ testRun?: { servers: import('./servers.mjs').Server[], folder: string } }} */ (globalThis);
  const testRun = run.testRun;
  if (!testRun) return;
  run.testRun = undefined;
  await Promise.all(testRun.servers.map((server) => server.dispose()));
  removeFolder(testRun.folder);
}
