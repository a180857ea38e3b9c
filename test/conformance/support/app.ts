import type { AddressInfo } from 'node:net';
import { type DynamicModule, type LoggerService, Module, type ModuleMetadata, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter, type NestExpressApplication } from '@nestjs/platform-express';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import type { DataSource } from 'typeorm';
import { IdempotencyModule, type IdempotencyModuleOptions } from '../../../lib/index.js';
import { createDatabase, type TestDatabase, type TestDialect } from '../../support/database.js';

export const PLATFORMS = ['express', 'fastify'] as const;
export type Platform = (typeof PLATFORMS)[number];
export type TestApplication = NestExpressApplication | NestFastifyApplication;

export interface AppSettings extends Pick<ModuleMetadata, 'imports' | 'providers' | 'controllers'> {
  readonly options?: IdempotencyModuleOptions;
  /** Takes the place of `IdempotencyModule.forRoot(options)`. */
  readonly module?: DynamicModule;
  readonly dialect?: TestDialect;
  /** Takes the place of a database of its own. */
  readonly database?: TestDatabase;
  readonly adapter?: ExpressAdapter | FastifyAdapter;
  /** Before the application listens. */
  readonly configure?: (app: TestApplication, platform: Platform) => void | Promise<void>;
}

export interface RunningApp {
  readonly port: number;
  readonly platform: Platform;
  readonly app: TestApplication;
  readonly dataSource: DataSource;
  readonly log: LogLines;
  close(): Promise<void>;
}

/** Keeps what Nest logs, instead of printing it. */
export class LogLines implements LoggerService {
  readonly lines: string[] = [];
  log = (): void => undefined;
  warn = (...parts: unknown[]): void => this.keep('WARN', parts);
  error = (...parts: unknown[]): void => this.keep('ERROR', parts);
  fatal = (...parts: unknown[]): void => this.keep('FATAL', parts);

  toString(): string {
    return this.lines.join('\n');
  }

  private keep(level: string, parts: readonly unknown[]): void {
    this.lines.push(`${level} ${parts.map((part) => (part instanceof Error ? part.stack : String(part))).join(' ')}`);
  }
}

export async function startApp(platform: Platform, settings: AppSettings): Promise<RunningApp> {
  const database = settings.database ?? (await createDatabase(settings.dialect ?? 'better-sqlite3'));
  const log = new LogLines();
  let app: TestApplication | undefined;
  try {
    const adapter = settings.adapter ?? (platform === 'express' ? new ExpressAdapter() : new FastifyAdapter());
    app = (await NestFactory.create(moduleOf(database, settings) as never, adapter, {
      logger: log,
      abortOnError: false,
      forceCloseConnections: true,
    })) as unknown as TestApplication;
    await settings.configure?.(app, platform);
    await app.listen(0, '127.0.0.1');
  } catch (error) {
    await app?.close().catch(() => undefined);
    await database.drop();
    throw error;
  }
  const running = app;
  return {
    platform,
    app: running,
    log,
    port: (running.getHttpServer().address() as AddressInfo).port,
    dataSource: running.get<DataSource>(getDataSourceToken()),
    close: async () => {
      await running.close();
      if (!settings.database) await database.drop();
    },
  };
}

function moduleOf(database: TestDatabase, settings: AppSettings): Type {
  const { imports = [], options, providers, controllers } = settings;
  @Module({
    imports: [
      TypeOrmModule.forRoot({ autoLoadEntities: true, synchronize: true, ...database.options } as never),
      settings.module ?? IdempotencyModule.forRoot({ audit: 'off', sweep: false, ...options }),
      ...imports,
    ],
    providers,
    controllers,
  })
  class TestModule {}
  return TestModule;
}
