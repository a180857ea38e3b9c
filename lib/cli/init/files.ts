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

/** The files of a project, on disk or in the tree of a schematic. Paths are relative to its root, and have `/`. */
export interface ProjectFiles {
  /** Returns the text of a file; `undefined` if it does not exist. */
  read(path: string): string | undefined;
  /** Returns the names of the files in a folder; none if it does not exist. */
  list(folder: string): readonly string[];
}

export class DiskFiles implements ProjectFiles {
  constructor(private readonly root: string) {}

  read(path: string): string | undefined {
    const file = join(this.root, path);
    return existsSync(file) && statSync(file).isFile() ? readFileSync(file, 'utf8') : undefined;
  }

  list(folder: string): string[] {
    const path = join(this.root, folder);
    const entries = existsSync(path) ? readdirSync(path, { withFileTypes: true }) : [];
    return entries.filter((entry) => entry.isFile()).map(({ name }) => name);
  }

  /** @throws CliError for a file that is not UTF-8: writing its text would change its other bytes */
  assertText(changes: readonly FileChange[]): void {
    for (const { path, before } of changes) {
      if (!this.has(path, before)) throw refusal(`${path} is not UTF-8. Nothing was changed`);
    }
  }

  /**
   * Replaces the text of files. Writes every text beside its file before it replaces the first one: a full disk or a read-only folder
   * would otherwise leave a project that is changed in part and does not compile.
   *
   * @throws CliError if a file has changed since the plan was made, or cannot be written
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
          // Replaces the target of a symbolic link. Renaming onto the link itself would replace it by a file.
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
