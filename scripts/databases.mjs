import { accessSync, constants } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline/promises';
import { CHROMIUM, find, REQUIREMENTS } from '../test/support/binaries.mjs';
import { run, succeeds } from './workspace.mjs';

/** @typedef {import('../test/support/binaries.mjs').Requirement} Requirement */

/** `--yes` is no argument of what a script passes its arguments to, but holds for the scripts that it starts. */
const yes = process.argv.indexOf('--yes');
if (yes > 0) {
  process.argv.splice(yes, 1);
  process.env.MAY_INSTALL = 'yes';
}

/** Sees to it that the servers of the tests can be started; PostgreSQL comes with the npm packages. */
export function ensureDatabases() {
  return ensure(REQUIREMENTS, [
    'Install Redis, MariaDB, NATS, Mosquitto, RabbitMQ and PgBouncer, then run this again:',
    '  Ubuntu:         the same; macOS: brew install redis mariadb nats-server mosquitto rabbitmq pgbouncer',
    'The unit tests alone need no servers: npm run test:unit',
  ]);
}

/** The same, and that pages can be tested in a browser. */
export function ensureDatabasesAndBrowser() {
  return ensure(
    [...REQUIREMENTS, CHROMIUM],
    [
      'Install Redis, MariaDB, NATS, Mosquitto, RabbitMQ, PgBouncer and Chromium, then run this again:',
      '  Ubuntu:         the same, but sudo snap install chromium; macOS: brew install redis mariadb nats-server mosquitto ' +
        'rabbitmq pgbouncer && brew install --cask chromium',
      'The unit tests alone need none of them: npm run test:unit',
    ],
  );
}

/**
 * The same for the servers of some topologies.
 *
 * @param {Requirement[]} requirements
 */
export function ensureServers(requirements) {
  return ensure(requirements, [
    'Install what the topologies are made of, then run this again:',
    '  Ubuntu:         the same; elsewhere, run this in a container of Debian',
    'The suite needs none of them: npm test',
  ]);
}

/**
 * @param {Requirement[]} requirements
 * @param {[string, string, string]} advice
 */
async function ensure(requirements, advice) {
  const missing = missingOf(requirements);
  if (missing.length === 0) return;
  console.log(`The tests start what they test with; missing: ${missing.join(', ')}.`);
  const prefix = aptGetPrefix();
  if (!prefix) return giveUp(missing, requirements, advice);
  if (!(await mayInstall(missing))) return giveUp(missing, requirements, advice);
  await aptInstall(prefix, missing);
  if (missingOf(requirements).length > 0) giveUp(missing, requirements, advice);
}

/**
 * @param {string[]} prefix
 * @param {string[]} packages
 * @returns {Promise<boolean>} whether they are installed
 */
export async function aptInstall(prefix, packages) {
  const [command, ...args] = [...prefix, 'apt-get', '-qq', '-o', 'DPkg::Lock::Timeout=300'];
  await run(command, [...args, 'update']);
  // Nothing that the machine already has may be removed for the sake of these tests.
  const install = [...args, 'install', '--yes', '--no-remove', '--no-install-recommends', ...packages];
  console.log(`> ${[command, ...install].join(' ')}`);
  return succeeds(command, install);
}

/**
 * System packages are the user's to decide about: asks, unless `--yes` or CI has answered. Where no user can be asked, the
 * answer is no.
 *
 * @param {string[]} packages
 */
export async function mayInstall(packages) {
  const { CI = 'false', MAY_INSTALL } = process.env;
  if (MAY_INSTALL === 'yes' || !['', '0', 'false'].includes(CI)) return true;
  if (!process.stdin.isTTY) {
    console.log('Nobody can be asked whether to install them. To have them installed: npm test -- --yes');
    return false;
  }
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  const answer = await terminal.question(`Install ${packages.join(', ')} by apt-get? [y/N] `);
  terminal.close();
  return /^y(es)?$/i.test(answer.trim());
}

/** @param {Requirement[]} requirements */
function missingOf(requirements) {
  return [...new Set(requirements.filter((one) => !find(one)).flatMap((one) => one.packages))];
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

/**
 * @param {string[]} packages
 * @param {Requirement[]} requirements
 * @param {[string, string, string]} advice
 */
function giveUp(packages, requirements, [what, elsewhere, otherwise]) {
  console.error(
    [
      what,
      `  Debian:         sudo apt-get install ${packages.join(' ')}`,
      elsewhere,
      'or name the executables in ' + requirements.map((one) => one.variable).join(', ') + '.',
      otherwise,
    ].join('\n'),
  );
  process.exit(1);
}
