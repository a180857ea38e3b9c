import type { DataSource } from 'typeorm';
import { IDEMPOTENCY_ENTITIES } from './entities/index.js';

/**
 * Returns whether a data source has its connections and its metadata. An application that boots without a database
 * initializes it later. TypeORM reports it as initialized before it has the metadata.
 */
export function isInitialized(dataSource: DataSource): boolean {
  const { entityMetadatas, options } = dataSource;
  const hasMetadata = entityMetadatas.length > 0 || Object.keys(options.entities ?? {}).length === 0;
  return dataSource.isInitialized && hasMetadata;
}

/** Returns the data source. @throws Error with the code of an outage until it is initialized: requests get 503 */
export function initialized(dataSource: DataSource): DataSource {
  if (isInitialized(dataSource)) return dataSource;
  const message = 'the data source is not initialized: call its initialize()';
  throw Object.assign(new Error(message), { code: 'ENOTCONN' });
}

/** @throws Error where an initialized data source does not know our entities */
export function assertEntities(dataSource: DataSource): void {
  const unknown = IDEMPOTENCY_ENTITIES.find((entity) => !dataSource.hasMetadata(entity));
  if (!unknown) return;
  const { name } = unknown;
  if (dataSource.entityMetadatas.some((metadata) => metadata.name === name)) {
    throw new Error(
      `IdempotencyModule: the ${name} that the data source knows is not the entity of this package. Two copies of the package are ` +
        'installed, as `npm ls nestjs-idempotency` shows, or an entity of the application has this name.',
    );
  }
  throw new Error(
    `IdempotencyModule: the data source does not know the entity ${name}. Set \`autoLoadEntities: true\` in ` +
      'TypeOrmModule.forRoot(), or add IDEMPOTENCY_ENTITIES to its `entities`.',
  );
}
