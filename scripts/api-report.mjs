/**
 * `npm run api:check`: whether the public types are those of `etc/*.api.md`, one report for each entry of the package's
 * `exports`. `npm run api:update` writes the reports: the diff then shows what changed.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Extractor, ExtractorConfig, ExtractorLogLevel } from '@microsoft/api-extractor';
import { manifest } from './docs/repository.mjs';
import { root } from './workspace.mjs';

const update = process.argv.includes('--update');
const reports = join(root, 'etc');
// Not in dist, which tests may be packing.
const temporary = mkdtempSync(join(tmpdir(), 'idempotency-api-'));

const entries = Object.entries(manifest().exports).flatMap(([path, target]) =>
  typeof target === 'string'
    ? []
    : [{ name: path === '.' ? 'index' : path.slice(2).replaceAll('/', '-'), types: target.types }],
);

mkdirSync(reports, { recursive: true });
const wrong = entries.filter(({ name, types }) => !isAsReported(name, types)).map(({ name }) => name);
const known = new Set(entries.map(({ name }) => `${name}.api.md`));
for (const file of readdirSync(reports).filter((one) => !known.has(one))) {
  if (update) rmSync(join(reports, file));
  else wrong.push(file);
}
rmSync(temporary, { recursive: true, force: true });

if (wrong.length > 0) {
  console.error(`The public types differ from etc/: ${wrong.join(', ')}. If that is meant: npm run api:update`);
  process.exit(1);
}
console.log(`${entries.length} entries, ${update ? 'written to' : 'as in'} etc/`);

/**
 * @param {string} name
 * @param {string} types
 */
function isAsReported(name, types) {
  const entry = join(root, types);
  if (!existsSync(entry)) throw new Error(`${types} is not there: npm run build`);
  const quiet = { default: { logLevel: ExtractorLogLevel.None } };
  const config = ExtractorConfig.prepare({
    configObject: {
      projectFolder: root,
      mainEntryPointFilePath: entry,
      newlineKind: /** @type {any} */ ('lf'),
      compiler: {
        overrideTsconfig: {
          compilerOptions: {
            module: 'NodeNext',
            moduleResolution: 'NodeNext',
            target: 'ES2023',
            lib: ['ES2023'],
            types: ['node'],
            strict: true,
            skipLibCheck: true,
            experimentalDecorators: true,
          },
          files: [entry],
        },
      },
      apiReport: {
        enabled: true,
        reportFileName: `${name}.api.md`,
        reportFolder: reports,
        reportTempFolder: temporary,
        includeForgottenExports: true,
      },
      docModel: { enabled: false },
      dtsRollup: { enabled: false },
      tsdocMetadata: { enabled: false },
      // Not what the report is for.
      messages: { compilerMessageReporting: quiet, extractorMessageReporting: quiet, tsdocMessageReporting: quiet },
    },
    configObjectFullPath: undefined,
    packageJsonFullPath: join(root, 'package.json'),
  });
  const result = Extractor.invoke(config, { localBuild: update, showVerboseMessages: false, messageCallback: collect });
  return update || !result.apiReportChanged;
}

/** @param {import('@microsoft/api-extractor').ExtractorMessage} message */
function collect(message) {
  // Differences are printed at the end, all at once.
  message.handled = message.logLevel !== ExtractorLogLevel.Error;
}
