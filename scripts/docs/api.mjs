import { join } from 'node:path';
import { Application } from 'typedoc';
import { root } from '../workspace.mjs';
import { manifest } from './repository.mjs';

/** What exported types are made of, and no user names. */
const INSIDE = ['EngineFactory', 'EventSink', 'FAULT_CALLS', 'OfExecution', 'OfRecord', 'StoredOutcome', 'WakeUp'];

/**
 * Makes the API reference of everything that package.json exports, from the code's own docstrings. A warning is a failure:
 * what is exported is documented, and refers to nothing that is not.
 *
 * @param {string} folder from the root
 * @returns {Promise<boolean>} whether it succeeded
 */
export async function makeApiReference(folder) {
  const app = await Application.bootstrap({
    name: 'nestjs-idempotency',
    entryPoints: entryPoints(),
    basePath: root,
    tsconfig: join(root, 'tsconfig.build.json'),
    readme: 'none',
    excludeInternal: true,
    excludePrivate: true,
    excludeExternals: true,
    treatWarningsAsErrors: true,
    disableSources: true,
    intentionallyNotExported: INSIDE,
    validation: { notExported: true, invalidLink: true, notDocumented: true },
    requiredToBeDocumented: ['Class', 'Interface', 'TypeAlias', 'Variable'],
  });
  const project = await app.convert();
  if (!project) return false;
  app.validate(project);
  if (app.logger.hasErrors() || app.logger.hasWarnings()) return false;
  await app.generateDocs(project, join(root, folder));
  return !app.logger.hasErrors() && !app.logger.hasWarnings();
}

/** The sources of what package.json exports. */
function entryPoints() {
  return Object.values(manifest().exports).flatMap((target) =>
    typeof target === 'string' ? [] : [join(root, target.default.replace('./dist/', 'lib/').replace(/\.js$/, '.ts'))],
  );
}
