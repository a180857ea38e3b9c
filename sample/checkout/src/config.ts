import { join } from 'node:path';
import type { Duration } from 'nestjs-idempotency';

/** Everything that can be set from outside, read once. README.md lists the variables. */
export interface Config {
  /** Where the shop listens. */
  port: number;
  /** `postgres://` or `mysql://`; without it the shop keeps a SQLite file in `dataDir`. */
  databaseUrl?: string;
  dataDir: string;
  /** None, one, or an odd number of independent Redis nodes. */
  redisUrls: string[];
  provider: {
    port: number;
    url: string;
    /** How long the shop waits for the payment provider's answer. */
    timeoutMs: number;
  };
  /** How long a shop that fell silent keeps a payment. Short: a demonstration goes on after seconds. */
  lease: Duration;
  /** `PROTECTION=off` leaves `@Idempotent()` out, to show what it is for. */
  protection: boolean;
}

function readConfig(env: NodeJS.ProcessEnv): Config {
  const providerPort = Number(env.PROVIDER_PORT ?? 3001);
  return {
    port: Number(env.PORT ?? 3000),
    databaseUrl: env.DATABASE_URL,
    dataDir: env.DATA_DIR ?? join(import.meta.dirname, '..', 'data'),
    redisUrls: env.REDIS_URLS?.split(',').filter(Boolean) ?? [],
    provider: {
      port: providerPort,
      url: `http://127.0.0.1:${providerPort}`,
      timeoutMs: 30_000,
    },
    lease: (env.LEASE as Duration | undefined) ?? '5s',
    protection: env.PROTECTION !== 'off',
  };
}

export const config = readConfig(process.env);
