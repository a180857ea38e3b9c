/** `npm run pack:size`: how large the package is, as npm would publish it, and what of it is largest. */
import { execFileSync } from 'node:child_process';
import { root } from './workspace.mjs';

/** @type {[{ size: number, unpackedSize: number, entryCount: number, files: { path: string, size: number }[] }]} */
const [packed] = JSON.parse(
  execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  }),
);

/** @type {Map<string, number>} */
const kinds = new Map();
for (const { path, size } of packed.files) {
  const kind = /(\.d\.ts|\.js\.map|\.js|\.[a-z]+)$/.exec(path)?.[1] ?? path;
  kinds.set(kind, (kinds.get(kind) ?? 0) + size);
}

const kib = (/** @type {number} */ bytes) => `${(bytes / 1024).toFixed(1)} KiB`;
const parts = [...kinds].sort(([, a], [, b]) => b - a).map(([kind, size]) => `${kind} ${kib(size)}`);
console.log(
  `${packed.entryCount} files, ${kib(packed.size)} packed, ${kib(packed.unpackedSize)} unpacked: ${parts.join(', ')}`,
);
