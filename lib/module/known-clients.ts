import { types } from 'node:util';
import { DataSource, EntityManager, Repository } from 'typeorm';
import type { Chain } from './method-source.js';

/** A client whose effects do not belong to a transaction of TypeORM. */
export interface KnownClient {
  readonly name: string;
  /** `database`: its writes could be in a transaction. `messenger`: what it sends cannot be called back. */
  readonly kind: 'database' | 'messenger';
  /** Whether a use may have an effect. */
  readonly acts: (use: Chain) => boolean;
}

interface Sign extends KnownClient {
  /** The members by which it is known. Packages rename their classes, and minifiers do. */
  readonly members: readonly string[];
}

const WRITES = /^(insert|update|upsert|delete|create|save|bulk|replace|merge)/;

/** Methods of ORMs, query builders and drivers that only read: `findOneAndUpdate` and `findOrCreate` do not. */
const READS =
  /^(find(?!\w*(And[A-Z]|OrCreate))\w*|select\w*|count\w*|exists|first|distinct|aggregate|groupBy|sum|avg|min|max|estimatedDocumentCount|\$queryRaw|\$count|\$connect)$/;

/** The arguments of a statement that only reads, also of Slonik's: ``(sql.unsafe`SELECT …`)``. */
const READING_SQL =
  /^\(\s*(?:\{\s*(?:text|sql)\s*:\s*|sql[\w.]*(?:\([^()]*\))?\s*)?["'`]\s*(select|with|show)\b(?![^]*\b(insert|update|delete|merge)\b)/i;

function writes({ names, args }: Chain): boolean {
  const called = names.slice(1);
  return (
    called.some((name) => WRITES.test(name)) || !(called.some((name) => READS.test(name)) || READING_SQL.test(args))
  );
}

function database(name: string, ...members: string[]): Sign {
  return { name, kind: 'database', members, acts: writes };
}

function messenger(name: string, members: string[], acts: RegExp): Sign {
  return { name, kind: 'messenger', members, acts: ({ names }) => names.slice(1).some((one) => acts.test(one)) };
}

/** A command of the AWS SDK that only reads, or that takes or settles a message. */
const READING_COMMAND =
  /\bnew\s+(?:[\w$]+\.)*(?:Get|List|Head|Describe|Query|Scan|BatchGet|Receive|DeleteMessage)\w*Command\b/;

const HTTP_METHODS = /^(post|put|patch|delete)(Form)?$/;

const SIGNS: readonly Sign[] = [
  database('Prisma', '$transaction', '$connect'),
  database('MikroORM', 'getUnitOfWork', 'persist', 'flush'),
  database('MikroORM', 'em', 'schema', 'getMetadata'),
  database('MikroORM', 'getEntityManager', 'nativeUpdate', 'upsert'),
  database('Kysely', 'selectFrom', 'insertInto'),
  database('Knex', 'raw', 'batchInsert', 'migrate'),
  database('Objection', 'relatedQuery', 'bindKnex'),
  database('pg-promise', 'oneOrNone', 'manyOrNone', 'taskIf'),
  database('Slonik', 'manyFirst', 'maybeOneFirst', 'transaction'),
  database('Sequelize', 'define', 'authenticate', 'transaction'),
  database('Sequelize', 'bulkCreate', 'findByPk'),
  database('Mongoose', 'hydrate', 'bulkWrite', 'insertMany'),
  database('Mongoose', 'models', 'startSession', 'dropDatabase'),
  database('MongoDB', 'startSession', 'db', 'watch'),
  database('MongoDB', 'collection', 'command', 'dropDatabase'),
  database('MongoDB', 'insertOne', 'bulkWrite', 'aggregate'),
  database('a pool of pg', 'query', 'totalCount', 'idleCount'),
  database('a client of pg', 'query', 'escapeIdentifier', 'escapeLiteral'),
  database('a pool of mysql2', 'getConnection', 'query', 'execute'),
  database('postgres', 'unsafe', 'begin', 'reserve'),
  database('better-sqlite3', 'prepare', 'pragma', 'loadExtension'),
  // A call by `send` may be one that only reads.
  messenger('a ClientProxy', ['emit', 'send', 'dispatchEvent'], /^emit$/),
  messenger('a queue', ['add', 'getJob', 'obliterate'], /^(add|addBulk)$/),
  messenger('a flow of queues', ['add', 'addBulk', 'getFlow'], /^(add|addBulk)$/),
  messenger('a topic of Pub/Sub', ['publishMessage', 'publishJSON', 'subscription'], /^publish/),
  {
    name: 'AWS',
    kind: 'messenger',
    members: ['send', 'middlewareStack', 'config'],
    // `new SendMessageCommand()`, `new PublishCommand()`: the name of a command says what it does.
    acts: ({ names, args }) => names[1] === 'send' && !READING_COMMAND.test(args),
  },
  {
    name: 'pg-boss',
    kind: 'messenger',
    members: ['send', 'fetch', 'offWork'],
    // With the option `db`, the job is in the transaction that this writes in.
    acts: ({ names, args }) => /^(send|insert|publish)/.test(names[1] ?? '') && !/\bdb\b/.test(args),
  },
  messenger('graphile-worker', ['addJob', 'withPgClient'], /^addJobs?$/),
  messenger('NATS', ['publish', 'request', 'drain'], /^publish/),
  messenger('JetStream', ['publish', 'jetstreamManager'], /^publish$/),
  messenger('MQTT', ['publish', 'publishAsync', 'subscribe'], /^publish(Async)?$/),
  messenger('a producer of Kafka', ['send', 'sendBatch', 'transaction'], /^send(Batch)?$/),
  messenger('a channel of AMQP', ['publish', 'sendToQueue'], /^(publish|sendToQueue)$/),
  messenger('RabbitMQ', ['publish', 'createRpc', 'managedChannel'], /^publish$/),
  messenger('mail', ['sendMail', 'transporter'], /^sendMail$/),
  messenger('HTTP', ['axiosRef', 'post', 'patch'], HTTP_METHODS),
  messenger('HTTP', ['interceptors', 'post', 'getUri'], HTTP_METHODS),
  messenger(
    'Stripe',
    ['paymentIntents', 'charges'],
    /^(create|update|del|cancel|capture|confirm|finalizeInvoice|pay)$/,
  ),
];

/** Set by Drizzle on its classes. */
const DRIZZLE_KIND = Symbol.for('drizzle:entityKind');
const DRIZZLE = database('Drizzle');

/** What injected repositories write has a connection of its own, unless they follow a transaction host. */
export const TYPEORM: KnownClient = {
  name: 'TypeORM',
  kind: 'database',
  acts: ({ names, args }) => names.slice(1).some((name) => WRITES_OF_TYPEORM.test(name)) && !READING_SQL.test(args),
};

/** Methods of TypeORM that write. Not all of them are declared `async`. */
export const WRITES_OF_TYPEORM =
  /^(save|insert|update\w*|upsert|delete\w*|remove|soft\w+|re(cover|store)|clear\w*|increment|decrement|query|transaction|startTransaction)$/;

export function isOfTypeOrm(value: unknown): boolean {
  return value instanceof Repository || value instanceof EntityManager || value instanceof DataSource;
}

/**
 * Whether a repository or data source finds the transaction of its caller, as under typeorm-transactional: its `manager` is a getter, or it
 * is behind a proxy. nestjs-cls leaves them as they are.
 */
export function followsCallers(value: unknown): boolean {
  if (!isOfTypeOrm(value)) return false;
  for (let at: unknown = value; at; at = Object.getPrototypeOf(at)) {
    const manager = Object.getOwnPropertyDescriptor(at, 'manager');
    if (manager) return manager.get !== undefined || types.isProxy(value);
  }
  return types.isProxy(value);
}

/** Returns the known client that a value is. */
export function knownClient(value: unknown): KnownClient | undefined {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return undefined;
  if (isOfTypeOrm(value)) return TYPEORM;
  try {
    const kind = (value.constructor as unknown as Record<symbol, unknown>)?.[DRIZZLE_KIND];
    if (String(kind).endsWith('Database')) return DRIZZLE;
    return SIGNS.find(({ members }) => members.every((name) => name in value));
  } catch {
    // A proxy may refuse to be asked, as one of a request that has not come.
    return undefined;
  }
}
