import { addShutdownHooks } from './entry-file.js';
import type { ProjectFiles } from './files.js';
import { configureJest } from './jest.js';
import { ModuleGraph } from './module-graph.js';
import type { Draft, InitOptions, Plan } from './plan.js';
import { dependsOn, locateProject, type Selection } from './project.js';
import { addModules, rootModuleOf } from './root-module.js';
import type { TypeScript } from './source-editor.js';
import { connectTypeOrm, installCommand } from './typeorm.js';

/**
 * Plans what the library needs in a project, and changes nothing.
 *
 * @throws CliError without a Nest project or TypeORM, and for a syntax error
 */
export function planInit(ts: TypeScript, files: ProjectFiles, options: InitOptions & Selection): Plan {
  const project = locateProject(ts, files, options);
  const draft: Draft = {
    files,
    project,
    graph: new ModuleGraph(ts, files, project),
    options,
    found: [`Nest ${project.nestMajor}`, ...(project.manifest.type === 'module' ? ['ES modules'] : ['CommonJS'])],
    manual: [],
    notes: [],
    packages: new Set(),
    placed: new Set(),
  };
  for (const [name, adapter] of ADAPTERS) if (dependsOn(project.manifest, name)) draft.found.push(adapter);
  // First, because a syntax error in it would hide the modules that it imports.
  const root = rootModuleOf(draft);
  const needsTypeOrm = connectTypeOrm(draft);
  addModules(draft, root, needsTypeOrm ? options.database : undefined);
  addShutdownHooks(draft);
  configureJest(draft);
  askForNodeNext(ts, draft);
  const changes = draft.graph.all
    .map(({ path, editor }) => ({ path, before: editor.source.text, after: editor.text }))
    .filter(({ before, after }) => before !== after);
  const { found, manual, notes, packages } = draft;
  const install = packages.size > 0 ? installCommand(draft, [...packages]) : undefined;
  return { found, changes, manual, notes, install };
}

const ADAPTERS = [
  ['@nestjs/platform-express', 'Express'],
  ['@nestjs/platform-fastify', 'Fastify'],
] as const;

/** Advises to change settings with which TypeScript does not find the package's subpaths, or refuses to import an ES module. */
function askForNodeNext(ts: TypeScript, { project, manual }: Draft): void {
  const { module, moduleResolution } = project.compilerOptions;
  const { ModuleKind, ModuleResolutionKind } = ts;
  const isOld =
    moduleResolution === ModuleResolutionKind.Node10 ||
    (moduleResolution === undefined && (module === undefined || module === ModuleKind.CommonJS));
  // TypeScript knows from 5.8 on that Node can require an ES module, and with these two never.
  const isRefused =
    module === ModuleKind.Node16 ||
    (module !== undefined && module === ModuleKind.Node18) ||
    (module === ModuleKind.NodeNext && Number(ts.versionMajorMinor) < 5.8);
  if (isOld || (isRefused && project.manifest.type !== 'module')) {
    manual.push({
      where:
        'in "compilerOptions" of tsconfig.json, with TypeScript 5.8 or newer: otherwise TypeScript does not find ' +
        'nestjs-idempotency/migrations, or refuses to import an ES module',
      lines: '"module": "nodenext",\n"moduleResolution": "nodenext"',
    });
  }
}
