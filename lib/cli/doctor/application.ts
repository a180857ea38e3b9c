import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { AbstractHttpAdapter } from '@nestjs/core';
import type { INestApplication, Type } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import { BootAudit } from '../../module/boot-audit.js';
import { IDEMPOTENCY_DATA_SOURCE, IDEMPOTENCY_OPTIONS } from '../../module/idempotency.tokens.js';
import { OperationOptions } from '../../handlers/operation-options.js';
import type { ResolvedModuleOptions } from '../../options/resolved-options.js';
import { isCovered, Routes } from '../../handlers/routes.js';
import { withDeadline } from '../../store/deadline.js';
import { reasonOf } from '../../store/driver-errors.js';
import { secretsIn } from '../database/redact.js';
import { usageError } from '../exit-codes.js';
import { failure, type Finding, hint, ok, warning } from './finding.js';
import type { ApplicationSettings } from './subject.js';
import { keepSchemas, type Watched } from './unchanged-schema.js';

/** Where `nest build` puts the root module. */
const USUAL_FILES = ['dist/app.module.js', 'dist/src/app.module.js'];

/** Either is enough, because nothing listens. */
const ADAPTERS = [
  ['@nestjs/platform-express', 'ExpressAdapter'],
  ['@nestjs/platform-fastify', 'FastifyAdapter'],
] as const;

/** A loaded application. Its lifecycle hooks have not been called. */
export interface Application {
  readonly dataSource: DataSource;
  readonly options: ResolvedModuleOptions;
  readonly settings: ApplicationSettings;
}

interface Examined {
  readonly application?: Application;
  readonly findings: readonly Finding[];
  /** Passwords and URLs of its data sources and Redis clients: errors may repeat them. */
  readonly secrets: readonly string[];
}

/** Returns the file of the root module: the given one, or the usual one. @throws CliError if the given one does not exist */
export function findApplication(given: string | undefined): string | undefined {
  if (given !== undefined && !existsSync(given)) throw usageError(`There is no file ${given}`, 'npx nest build');
  return given ?? USUAL_FILES.find((file) => existsSync(file));
}

/**
 * Creates the modules and providers of an application, and examines its routes. The application does not listen, and no lifecycle
 * hook (`onModuleInit`, `onApplicationBootstrap`) is called, so it takes no messages, runs no jobs and sweeps nothing. Constructors and
 * factories run, and may connect to databases, whose schemas they do not change ({@link keepSchemas}).
 */
export async function examineApplication(file: string, timeoutMs: number): Promise<Examined> {
  const path = resolve(file);
  const logged: string[] = [];
  const schemas = keepSchemas(path);
  try {
    const app = await withDeadline(load(path, logged), timeoutMs);
    const { application, findings } = examined(app, file, schemas);
    const clients = (application?.options.redis ?? []) as readonly { readonly options?: unknown }[];
    const secrets = [...secretsOf(schemas), ...clients.flatMap(({ options }) => secretsIn(options))];
    return { application, findings: [...findings, ...schemas.findings()], secrets };
  } catch (error) {
    const reason = [reasonOf((error as Error).cause ?? error), ...logged.slice(-1)].join(
      '; the last error that it logged: ',
    );
    const finding = failure(
      'application',
      `${file} could not be loaded: ${reason}`,
      'Build the application (npx nest build), and run this in its folder with its environment. --timeout 60s gives it longer',
    );
    return { findings: [finding, ...schemas.findings()], secrets: secretsOf(schemas) };
  }
}

function secretsOf({ dataSources }: Watched): string[] {
  return [...dataSources].flatMap(({ options }) => secretsIn(options));
}

async function load(path: string, logged: string[]): Promise<INestApplication> {
  const { NestFactory } = await import('@nestjs/core');
  const create = NestFactory.create.bind(NestFactory);
  // A file that awaits its start is never loaded.
  const exported = await Promise.race([import(pathToFileURL(path).href), preventedStart(NestFactory)]);
  const module = rootModuleOf(exported as Record<string, unknown>);
  const ignore = () => undefined;
  const errors = (message: unknown) => void logged.push(String(message).split('\n')[0]);
  const logger = { log: ignore, warn: ignore, debug: ignore, verbose: ignore, error: errors, fatal: errors };
  return create(module, await adapterFor(path), { logger, abortOnError: false });
}

/**
 * Prevents the application from starting itself in this process, as `dist/main.js` does when it is loaded: it would listen, take messages
 * and sweep beside the deployed ones. Returns a promise that rejects when it tries to.
 */
function preventedStart(factory: object): Promise<never> {
  const prevented = new Promise<never>((_, reject) => {
    const start = () => {
      reject(new TypeError('it starts the application: name the file of the root module in --app'));
      return new Promise(() => undefined);
    };
    Object.assign(factory, { create: start, createMicroservice: start, createApplicationContext: start });
  });
  // It may try later, when nothing waits for that any more.
  prevented.catch(() => undefined);
  return prevented;
}

/** Returns `AppModule`, or else the first module that the file exports. */
function rootModuleOf(exported: Record<string, unknown>): Type {
  const all = { ...(exported.default as Record<string, unknown> | undefined), ...exported };
  const modules = [...new Set(Object.values(all))].filter(isModule);
  const found = modules.find(({ name }) => name === 'AppModule') ?? modules[0];
  if (!found) throw new TypeError('it exports no class with @Module(): name the file of the root module in --app');
  return found;
}

function isModule(value: unknown): value is Type {
  return (
    typeof value === 'function' &&
    ['imports', 'providers', 'controllers'].some((key) => Reflect.hasMetadata(key, value))
  );
}

async function adapterFor(path: string): Promise<AbstractHttpAdapter> {
  const require = createRequire(path);
  for (const [name, adapter] of ADAPTERS) {
    let found: string;
    try {
      found = require.resolve(name);
    } catch {
      continue;
    }
    const exported = (await import(pathToFileURL(found).href)) as Record<string, Type<AbstractHttpAdapter>>;
    return new exported[adapter]();
  }
  throw new Error(`neither ${ADAPTERS.map(([name]) => name).join(' nor ')} is installed`);
}

function examined(app: INestApplication, file: string, schemas: Watched): Omit<Examined, 'secrets'> {
  const from = { strict: false };
  let options: ResolvedModuleOptions;
  try {
    options = app.get<ResolvedModuleOptions>(IDEMPOTENCY_OPTIONS, from);
  } catch {
    const finding = failure(
      'application',
      `${file} does not import IdempotencyModule, or takes it from another copy of this package`,
      'Import IdempotencyModule.forRoot() in the root module, and run the command that is installed beside the application',
    );
    return { findings: [finding] };
  }
  const [routes, operations] = [app.get(Routes, from), app.get(OperationOptions, from)];
  const sizes = routes
    .idempotent()
    .map(({ controller, handler }) => operations.of(controller, handler)!.response.maxBytes);
  const dataSource = app.get<DataSource>(IDEMPOTENCY_DATA_SOURCE, from);
  return {
    application: {
      dataSource,
      options,
      settings: {
        isKnown: true,
        storeConnections: options.storeConnections,
        usesRedis: options.redis.length > 0,
        responseMaxBytes: Math.max(operations.ofModule.response.maxBytes, ...sizes),
        changesSchema: schemas.changesSchema(dataSource),
        sweeps: options.sweep !== undefined,
      },
    },
    findings: audit(routes, app.get(BootAudit, from), options.audit),
  };
}

/** Runs the audit that the application runs at boot, and names every handler. */
function audit(routes: Routes, ofBoot: BootAudit, mode: ResolvedModuleOptions['audit']): Finding[] {
  const findings: Finding[] = [];
  const remedyFor = (message: string) =>
    message.startsWith('Mutating routes')
      ? 'Put @Idempotent() or @NotIdempotent() on each'
      : "Do as it says, or accept it for a handler by @Idempotent({ audit: 'off' })";
  const report = { warn: (message: string) => findings.push(warning('routes', message, remedyFor(message))) };
  try {
    ofBoot.run(mode === 'off' ? mode : 'list', report);
  } catch (error) {
    findings.push(failure('routes', (error as Error).message));
  }
  const all = routes.all();
  const mutating = all.filter(({ isMutating }) => isMutating);
  const covered = all.filter(isCovered);
  const message = `Routes and mutations that change something: ${mutating.length}; idempotent handlers: ${covered.length}`;
  if (covered.length === 0) findings.push(hint('routes', message, 'Put @Idempotent() on those that may not run twice'));
  else if (findings.length === 0) findings.push(ok('routes', message));
  return findings;
}
