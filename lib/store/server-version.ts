import type { DialectName } from './dialects/dialect-name.js';

interface Product {
  readonly name: string;
  /** Matches the version that the server reports: major and minor. */
  readonly version: RegExp;
  /** The first version that supports all statements of the library. */
  readonly since: readonly [major: number, minor: number];
}

/** The products that may answer. The first pattern that matches decides. */
const PRODUCTS: Record<DialectName, readonly Product[]> = {
  postgres: [{ name: 'PostgreSQL', version: /^PostgreSQL (\d+)(?:\.(\d+))?/, since: [13, 0] }],
  mysql: [
    { name: 'MariaDB', version: /(\d+)\.(\d+)[\d.]*-MariaDB/, since: [10, 6] },
    { name: 'MySQL', version: /^(\d+)\.(\d+)/, since: [8, 0] },
  ],
  sqlite: [{ name: 'SQLite', version: /^(\d+)\.(\d+)/, since: [3, 35] }],
};

export function versionQuery(dialect: DialectName): string {
  return `SELECT ${dialect === 'sqlite' ? 'sqlite_version' : 'version'}() AS version`;
}

/** Returns a message if a server's version is older than the supported ones. */
export function unsupported(dialect: DialectName, version: string): string | undefined {
  for (const product of PRODUCTS[dialect]) {
    const found = product.version.exec(version);
    if (!found) continue;
    const [major, minor] = [Number(found[1]), Number(found[2] ?? 0)];
    const [sinceMajor, sinceMinor] = product.since;
    if (major > sinceMajor || (major === sinceMajor && minor >= sinceMinor)) return undefined;
    const since = sinceMinor === 0 ? sinceMajor : `${sinceMajor}.${sinceMinor}`;
    return `${product.name} ${major}.${minor} is not supported: the statements need ${since} or newer`;
  }
  return undefined;
}
