import type { ProjectFiles } from './files.js';
import { planInit } from './plan-init.js';
import { DATABASES, type DatabaseName } from './plan.js';
import { remarksOn } from './report.js';
import { typeScriptOf } from './typescript.js';

/** The part that is used of the tree of @angular-devkit/schematics. */
interface Tree {
  readText(path: string): string;
  exists(path: string): boolean;
  getDir(path: string): { readonly subfiles: readonly string[] };
  overwrite(path: string, content: string): void;
}

interface Context {
  readonly logger: { info(text: string): void; warn(text: string): void };
}

interface NestAddOptions {
  readonly sourceRoot?: string;
  readonly project?: string;
  readonly redis?: boolean;
  readonly database?: string;
}

/** The schematic of `nest add nestjs-idempotency`: `init` on the schematic's tree. Writes without asking, as schematics do. */
export function nestAdd({ redis = false, database, ...selection }: NestAddOptions) {
  return (tree: Tree, { logger }: Context): Tree => {
    const name = database !== undefined && Object.hasOwn(DATABASES, database) ? (database as DatabaseName) : undefined;
    const files: ProjectFiles = {
      read: (path) => (tree.exists(path) ? tree.readText(path) : undefined),
      list: (folder) => tree.getDir(folder || '/').subfiles,
    };
    const plan = planInit(typeScriptOf(process.cwd()), files, { redis, database: name, ...selection });
    for (const { path, after } of plan.changes) tree.overwrite(path, after);
    logger.info(`Found: ${plan.found.join('; ')}`);
    for (const remark of remarksOn(plan)) logger.warn(remark);
    return tree;
  };
}
