import { z } from 'zod';

const url = (...protocols: string[]) =>
  z.string().refine((text) => URL.canParse(text) && protocols.includes(new URL(text).protocol), {
    message: `has to be a URL that begins with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`,
  });
const port = (otherwise: number) => z.coerce.number().int().min(0).max(65_535).default(otherwise);
const seconds = (otherwise: number) => z.coerce.number().min(1).default(otherwise);

/** What `npm run migrate` needs. */
export const databaseEnvironment = z.object({
  DATABASE_URL: url('postgres:', 'postgresql:'),
  /** Connections of one instance; each transactional request keeps one for as long as its handler runs. */
  DATABASE_POOL: z.coerce.number().int().min(1).default(10),
});

/** AES-256 keys by their ids, as the library's command line takes them: `{"2026-11":"<32 bytes in base64>"}`. */
const encryptionKeys = z.string().transform((text, context) => {
  try {
    const keys = z.record(z.string()).parse(JSON.parse(text));
    return Object.fromEntries(Object.entries(keys).map(([id, key]) => [id, Buffer.from(key, 'base64')]));
  } catch {
    context.addIssue({ code: 'custom', message: 'has to be a JSON object of ids and keys in base64' });
    return z.NEVER;
  }
});

/** All environment variables of the service. The README lists them. */
export const environment = databaseEnvironment.extend({
  PORT: port(3000),
  /** Prometheus reads here, and the load balancer does not lead here. */
  METRICS_PORT: port(9464),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']).default('info'),
  REDIS_URL: url('redis:', 'rediss:'),
  /** Tokens are signed with it (HS256). */
  JWT_SECRET: z.string().min(32),
  JWT_ISSUER: z.string().min(1),
  JWT_AUDIENCE: z.string().min(1),
  PROVIDER_URL: url('http:', 'https:'),
  IDEMPOTENCY_KEYS: encryptionKeys,
  IDEMPOTENCY_CURRENT_KEY: z.string().min(1),
  /** How long a client waits at the most after an instance died in the middle of its request. */
  IDEMPOTENCY_LEASE_SECONDS: seconds(30),
  /** How often one of the instances counts the records, which reads the whole table. */
  IDEMPOTENCY_STATS_SECONDS: seconds(300),
});

export type Config = z.output<typeof environment>;

/** @throws Error that names every variable that is missing or wrong */
export function readEnvironment<T extends z.ZodTypeAny>(schema: T, env: NodeJS.ProcessEnv): z.output<T> {
  const { success, data, error } = schema.safeParse(env);
  if (success) return data;
  const problems = error.issues.map(({ path, message }) => `  ${path.join('.')}: ${message}`);
  throw new Error(`The environment is not set up:\n${problems.join('\n')}`);
}
