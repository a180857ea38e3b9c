/** `npm run bench`, `bench:scale` and `bench:memory`: from a fresh clone to figures. The first argument names the bench. */
import { join } from 'node:path';
import { ensureDatabases } from './databases.mjs';
import { buildLibrary, install, root, run } from './workspace.mjs';

const [name = 'run', ...rest] = process.argv.slice(2);

await install();
await ensureDatabases();
await buildLibrary();
await run(process.execPath, ['--no-warnings', join(root, 'bench', `${name}.mjs`), ...rest]);
