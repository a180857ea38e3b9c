import type { RedisLike } from '../../lock/redis-client.js';
import { CliError, ExitCode, usageError } from '../exit-codes.js';

/** @throws CliError for anything but URLs of Redis servers */
export function redisUrls(text: string | undefined): string[] | undefined {
  const urls = text?.split(',');
  if (urls?.every((url) => /^rediss?:\/\//.test(url) && URL.canParse(url)) !== false) return urls;
  throw usageError(
    '--redis takes URLs with commas between, such as redis://one:6379,redis://two:6379,redis://three:6379',
  );
}

/** Connects to nodes that the command line names, with the ioredis that the application has installed. */
export async function redisClients(
  urls: readonly string[],
  timeoutMs: number,
): Promise<{ clients: readonly RedisLike[]; end: () => void }> {
  const { Redis } = await import('ioredis').catch(() => {
    throw new CliError(ExitCode.unreachable, 'The Redis client is not installed', 'npm install ioredis');
  });
  const settings = { connectTimeout: timeoutMs, maxRetriesPerRequest: 0, retryStrategy: () => null };
  const clients = urls.map((url) => new Redis(url, settings).on('error', () => undefined));
  return { clients, end: () => clients.forEach((client) => client.disconnect()) };
}
