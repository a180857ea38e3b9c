/** Copies of the project, in which a promise is broken: the user's own tree is never written to. */
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { patched } from '../../test/promises/patch.mjs';
import { compileModule } from '../../test/support/swc.mjs';
import { root } from '../workspace.mjs';

/** What the specs read. `dist` is what processes of their own run on. */
const COPIED = ['lib', 'dist', 'test', 'scripts', 'docs', 'package.json', 'jest.config.mjs', 'tsconfig.json'];

export class Tree {
  /** @type {Set<string>} */
  #broken = new Set();

  /** @param {string} folder */
  constructor(folder) {
    this.folder = folder;
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    const isCopied = (/** @type {string} */ path) => !/\/(node_modules|\.built)(\/|$)/.test(path.slice(root.length));
    for (const path of COPIED) cpSync(join(root, path), join(folder, path), { recursive: true, filter: isCopied });
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  }

  /** @param {readonly import('../../test/promises/patch.mjs').Patch[]} patches */
  async break(patches) {
    for (const patch of patches) {
      this.#broken.add(patch.file);
      const path = join(this.folder, patch.file);
      writeFileSync(path, patched(patch, readFileSync(path, 'utf8')));
    }
    for (const { file } of patches) writeFileSync(this.#built(file), await compileModule(join(this.folder, file)));
  }

  mend() {
    for (const file of this.#broken) {
      cpSync(join(root, file), join(this.folder, file));
      const built = this.#built(file);
      cpSync(join(root, built.slice(this.folder.length)), built);
    }
    this.#broken.clear();
  }

  remove() {
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** @param {string} file of lib */
  #built(file) {
    return join(this.folder, file.replace(/^lib\//, 'dist/').replace(/\.ts$/, '.js'));
  }
}
