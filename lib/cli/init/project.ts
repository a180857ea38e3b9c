import { posix } from 'node:path';
import type ts from 'typescript';
import { refusal, usageError } from '../exit-codes.js';
import type { ProjectFiles } from './files.js';
import type { TypeScript } from './source-editor.js';

interface Manifest {
  readonly type?: string;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly jest?: unknown;
}

interface NestProject {
  readonly type?: string;
  readonly root?: string;
  readonly sourceRoot?: string;
  readonly entryFile?: string;
  readonly compilerOptions?: { readonly tsConfigPath?: string };
}

interface NestConfig extends NestProject {
  readonly projects?: Readonly<Record<string, NestProject>>;
}

export interface Selection {
  /** The name of a project in `nest-cli.json`. */
  readonly project?: string;
  /** The source folder of the project that was chosen: `nest add` gives it instead of the name. */
  readonly sourceRoot?: string;
}

export interface Project {
  readonly manifest: Manifest;
  readonly nestMajor: number;
  readonly sourceRoot: string;
  /** The project's folder in the repository; empty for the repository itself. */
  readonly folder: string;
  /** The file that starts the application. */
  readonly entry: string;
  readonly compilerOptions: ts.CompilerOptions;
}

const SUPPORTED = [11, 12];

/** @throws CliError if this is no Nest project that the library works with, or if one of several has to be named */
export function locateProject(ts: TypeScript, files: ProjectFiles, selection: Selection): Project {
  const manifest = readJson<Manifest>(ts, files, 'package.json') ?? {};
  const config = readJson<NestConfig>(ts, files, 'nest-cli.json');
  const nestMajor = majorOf(ts, files, manifest, '@nestjs/core');
  if (nestMajor === undefined && !config) {
    throw refusal('This is not a Nest project: package.json has no @nestjs/core, and there is no nest-cli.json');
  }
  if (nestMajor !== undefined && !SUPPORTED.includes(nestMajor)) {
    throw refusal(`This project has Nest ${nestMajor}; nestjs-idempotency works with Nest 11 and 12`);
  }
  const chosen = { ...config, ...projectIn(config ?? {}, selection) };
  const sourceRoot = posix.normalize(chosen.sourceRoot ?? 'src').replace(/\/$/, '');
  const folder = posix.normalize(chosen.root ?? (posix.dirname(sourceRoot) || '.')).replace(/^\.$/, '');
  const entry = posix.join(sourceRoot, `${chosen.entryFile ?? 'main'}.ts`);
  if (files.read(entry) === undefined) {
    throw refusal(
      `There is no ${entry}: \`sourceRoot\` and \`entryFile\` of nest-cli.json say what starts the application`,
    );
  }
  const tsConfigPath = chosen.compilerOptions?.tsConfigPath ?? posix.join(folder, 'tsconfig.json');
  const compilerOptions = compilerOptionsOf(ts, files, files.read(tsConfigPath) ? tsConfigPath : 'tsconfig.json');
  return { manifest, nestMajor: nestMajor ?? SUPPORTED.at(-1)!, sourceRoot, folder, entry, compilerOptions };
}

function projectIn(config: NestConfig, { project, sourceRoot }: Selection): NestProject {
  const all = Object.entries(config.projects ?? {});
  const applications = all.filter(([, one]) => one.type !== 'library');
  const names = applications.map(([name]) => name).join(', ');
  if (project !== undefined) {
    const found = applications.find(([name]) => name === project);
    if (found) return found[1];
    throw usageError(`There is no project "${project}" in nest-cli.json${names && `; there are ${names}`}`);
  }
  if (sourceRoot !== undefined) {
    return applications.find(([, one]) => one.sourceRoot === sourceRoot)?.[1] ?? { sourceRoot };
  }
  if (applications.length > 1) throw usageError(`Which project? Give --project with one of ${names}`);
  return applications[0]?.[1] ?? {};
}

/** Returns the major version of a package: the one that package.json names, or the installed one. */
export function majorOf(ts: TypeScript, files: ProjectFiles, manifest: Manifest, name: string): number | undefined {
  const range = manifest.dependencies?.[name] ?? manifest.devDependencies?.[name];
  const named = /^[\^~>=v\s]*(\d+)/.exec(range ?? '')?.[1];
  const installed = readJson<{ version: string }>(ts, files, `node_modules/${name}/package.json`)?.version;
  const version = named ?? installed;
  return version === undefined ? undefined : Number.parseInt(version, 10);
}

export function dependsOn({ dependencies, devDependencies }: Manifest, name: string): boolean {
  return name in { ...dependencies, ...devDependencies };
}

function readJson<T>(ts: TypeScript, files: ProjectFiles, path: string): T | undefined {
  const text = files.read(path);
  if (text === undefined) return undefined;
  const { config, error } = ts.parseConfigFileTextToJson(path, text) as { config?: T; error?: ts.Diagnostic };
  if (error) throw refusal(`${path} cannot be read: ${ts.flattenDiagnosticMessageText(error.messageText, ' ')}`);
  return config;
}

/** Reads the project's files for TypeScript, which names them by absolute paths. */
export function hostOf(files: ProjectFiles) {
  const relative = (path: string) => path.replace(/^\/+/, '');
  return {
    fileExists: (path: string) => files.read(relative(path)) !== undefined,
    readFile: (path: string) => files.read(relative(path)),
  };
}

function compilerOptionsOf(ts: TypeScript, files: ProjectFiles, path: string): ts.CompilerOptions {
  const host = { ...hostOf(files), useCaseSensitiveFileNames: true, readDirectory: () => [] };
  const { config } = ts.readConfigFile(`/${path}`, host.readFile) as { config?: object };
  return ts.parseJsonConfigFileContent(config ?? {}, host, `/${posix.dirname(path)}`, undefined, `/${path}`).options;
}

/** Says how the environment variable that an added line reads gets its value. */
export function variableNote({ manifest, entry }: Project, path: string, name: string, example: string): string {
  return dependsOn(manifest, '@nestjs/config')
    ? `${path} reads ${name} before @nestjs/config has read .env files: set it in the environment, or import 'dotenv/config' first in ${entry}`
    : `${path} reads ${name}: set it in the environment, such as ${example}`;
}
