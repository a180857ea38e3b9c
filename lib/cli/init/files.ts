import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  existsSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { refusal } from '../exit-codes.js';

export interface FileChange {
  readonly path: string;
  readonly before: string;
  readonly after: string;
}

/** The files of a project, by paths relative to its root and with `/`: on disk, or in the tree of a schematic. */
export interface ProjectFiles {
  /** Returns the text of a file, or `undefined` where there is none. */
  read(path: string): string | undefined;
  /** Returns the names in a folder, or nothing where there is no such folder. */
  list(folder: string): { readonly files: readonly string[]; readonly folders: readonly string[] };
}

export class DiskFiles implements ProjectFiles {
  constructor(private readonly root: string) {}

  read(path: string): string | undefined {
    const file = join(this.root, path);
    return existsSync(file) && statSync(file).isFile() ? readFileSync(file, 'utf8') : undefined;
  }

  list(folder: string) {
    const path = join(this.root, folder);
    const entries = existsSync(path) ? readdirSync(path, { withFileTypes: true }) : [];
    return {
      files: entries.filter((entry) => entry.isFile()).map(({ name }) => name),
      folders: entries.filter((entry) => entry.isDirectory()).map(({ name }) => name),
    };
  }

  /** @throws CliError where a file is not UTF-8: what its bytes stand for would be lost with the first change */
  assertText(changes: readonly FileChange[]): void {
    for (const { path, before } of changes) {
      if (!this.has(path, before)) throw refusal(`${path} is not UTF-8. Nothing was changed`);
    }
  }

  /**
   * Replaces the text of files. Every text is written beside its file before the first file is replaced, so that a folder or a disk
   * that takes no more leaves all of them as they are.
   *
   * @throws CliError where a file is not what the change was made from, or cannot be written
   */
  replace(changes: readonly FileChange[]): void {
    const written: { path: string; file: string; temporary: string }[] = [];
    const replaced: string[] = [];
    const attempt = (path: string, work: () => void) => {
      try {
        work();
      } catch (error) {
        const state = replaced.length > 0 ? `Changed so far: ${replaced.join(', ')}` : 'Nothing was changed';
        throw refusal(`${path} cannot be written: ${(error as Error).message}. ${state}`);
      }
    };
    try {
      for (const { path, before, after } of changes) {
        if (!this.has(path, before))
          throw refusal(`${path} has changed meanwhile. Nothing was changed: run this again`);
        attempt(path, () => {
          // What a link leads to is replaced, and the link stays.
          const file = realpathSync(join(this.root, path));
          accessSync(file, constants.W_OK);
          const temporary = `${file}.${process.pid}.tmp`;
          written.push({ path, file, temporary });
          writeFileSync(temporary, after, { flag: 'wx' });
          const { mode, uid, gid } = statSync(file);
          chmodSync(temporary, mode);
          if (process.getuid?.() === 0) chownSync(temporary, uid, gid);
        });
      }
      for (const { path, file, temporary } of written) {
        attempt(path, () => renameSync(temporary, file));
        replaced.push(path);
      }
    } finally {
      for (const { temporary } of written) rmSync(temporary, { force: true });
    }
  }

  private has(path: string, text: string): boolean {
    const file = join(this.root, path);
    return existsSync(file) && readFileSync(file).equals(Buffer.from(text));
  }
}
