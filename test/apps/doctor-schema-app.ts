import { writeSync } from 'node:fs';
import { Module } from '@nestjs/common';
import { TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { IDEMPOTENCY_ENTITIES, IdempotencyModule } from 'nestjs-idempotency';
import { IDEMPOTENCY_MIGRATIONS } from 'nestjs-idempotency/migrations';
import { Column, DataSource, Entity, type MigrationInterface, PrimaryGeneratedColumn, type QueryRunner } from 'typeorm';

const { DATABASE = '{}', SECOND, THIRD, FAILS } = process.env;

/** A table that does not exist yet, with a key that needs an extension of PostgreSQL. */
@Entity()
class Draft {
  @PrimaryGeneratedColumn('uuid')
  id!: string;

  @Column('varchar')
  text!: string;
}

class AddMigrated1700000000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('CREATE TABLE migrated (id integer)');
  }

  async down(): Promise<void> {}
}

const everything = {
  migrations: [AddMigrated1700000000000],
  migrationsRun: true,
  synchronize: true,
  dropSchema: true,
  retryAttempts: 0,
};

// As pino does, and for as long as the process runs.
setInterval(() => writeSync(1, 'printed past process.stdout\n'), 1).unref();
process.send?.('ready');

class Broken {
  constructor() {
    if (FAILS) throw new Error('broken, with hunter2hunter2 and redis://user:pass@wd@host');
  }
}

/** Each data source says in another way that its schema is to be changed when the application starts. */
@Module({
  imports: [
    TypeOrmModule.forRoot({
      ...(JSON.parse(DATABASE) as TypeOrmModuleOptions),
      ...everything,
      migrations: [...IDEMPOTENCY_MIGRATIONS, ...everything.migrations],
      entities: [...IDEMPOTENCY_ENTITIES, Draft],
      installExtensions: true,
      uuidExtension: 'pgcrypto',
    } as TypeOrmModuleOptions),
    TypeOrmModule.forRootAsync({
      name: 'second',
      useFactory: () => ({
        type: 'better-sqlite3',
        database: SECOND,
        entities: [Draft],
        extra: { password: 'hunter2hunter2' },
        ...everything,
      }),
    }),
    TypeOrmModule.forRootAsync({
      name: 'third',
      useFactory: () => ({ type: 'better-sqlite3', database: THIRD, migrations: everything.migrations }),
      dataSourceFactory: async (options) => {
        const dataSource = await new DataSource(options!).initialize();
        await dataSource.synchronize(true);
        await dataSource.runMigrations();
        return dataSource;
      },
    }),
    IdempotencyModule.forRoot(),
  ],
  providers: [Broken],
})
export class AppModule {}
