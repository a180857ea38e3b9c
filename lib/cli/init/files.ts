import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

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

  write(path: string, text: string): void {
    writeFileSync(join(this.root, path), text);
  }
}
