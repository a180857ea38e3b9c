import { accessSync, constants } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { find, REQUIREMENTS } from '../test/support/binaries.mjs';
import { run } from './workspace.mjs';

/** Sees to it that Redis, MariaDB and PgBouncer can be started; PostgreSQL comes with the npm packages. */
export async function ensureDatabases() {
  const missing = missingPackages();
  if (missing.length === 0) return;
  console.log(`The tests start real servers; missing: ${missing.join(', ')}.`);
  const prefix = aptGetPrefix();
  if (!prefix) return giveUp(missing);
  const [command, ...args] = [...prefix, 'apt-get', '-qq', '-o', 'DPkg::Lock::Timeout=300'];
  await run(command, [...args, 'update']);
  // Nothing that the machine already has may be removed for the sake of these tests.
  await run(command, [...args, 'install', '--yes', '--no-remove', '--no-install-recommends', ...missing]);
  if (missingPackages().length > 0) giveUp(missing);
}

function missingPackages() {
  return [...new Set(REQUIREMENTS.filter((one) => !find(one)).flatMap((one) => one.packages))];
}

/** @returns {string[] | undefined} what to write before apt-get, if it can be used without asking anybody */
export function aptGetPrefix() {
  try {
    accessSync('/usr/bin/apt-get', constants.X_OK);
  } catch {
    return undefined;
  }
  const environment = ['env', 'DEBIAN_FRONTEND=noninteractive'];
  if (process.getuid?.() === 0) return environment;
  return spawnSync('sudo', ['-n', 'true']).status === 0 ? ['sudo', '-n', ...environment] : undefined;
}

/** @param {string[]} packages */
function giveUp(packages) {
  console.error(
    [
      'Install Redis, MariaDB and PgBouncer, then run this again:',
      `  Debian, Ubuntu: sudo apt-get install ${packages.join(' ')}`,
      '  macOS:          brew install redis mariadb pgbouncer',
      'or name the executables in ' + REQUIREMENTS.map((one) => one.variable).join(', ') + '.',
      'The unit tests alone need no servers: npm run test:unit',
    ].join('\n'),
  );
  process.exit(1);
}
