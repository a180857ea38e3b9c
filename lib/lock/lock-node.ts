import { type GuardedClient, isReply } from './guarded-client.js';
import type { LockClient } from './turn-pipeline.js';

/** Redlock's scripts, as `Redlock.scripts` has them. */
export interface LockScripts {
  readonly acquireScript: LockScript;
  readonly extendScript: LockScript;
  readonly releaseScript: LockScript;
}

interface LockScript {
  readonly hash: string;
  readonly value: string;
}

/** What Redlock hands to a script: the lock's name, the random value that says whose it is, the time to live in ms. */
type ScriptArguments = readonly (string | number)[];

/** A lock that this node may hold for us. */
interface Claim {
  /** Given back while the node's answer was still out. */
  dropped: boolean;
}

const APPLIED = 1;
const NOT_APPLIED = 0;

/**
 * Sets the lock where it is free or ours already. Redlock's own script refuses the latter, and would take for somebody
 * else's a lock whose answer was lost with the connection and whose command the client has sent again.
 */
export const ACQUIRE_SCRIPT = `
  local holder = redis.call("get", KEYS[1])
  if holder and holder ~= ARGV[1] then
    return 0
  end
  redis.call("set", KEYS[1], ARGV[1], "PX", ARGV[2])
  return 1
`;

/**
 * One Redis node as Redlock sees it, each call settling within a time limit.
 *
 * It remembers which locks the node may hold. So extending and releasing go where there is something to extend or release
 * and nowhere else; a lost race costs no second round trip, though Redlock releases after each failed attempt; and a lock
 * that the node grants when nobody wants it any more is given back, rather than blocking others until it expires.
 */
export class LockNode {
  readonly #client: GuardedClient<LockClient>;
  readonly #scripts: () => LockScripts;
  readonly #claims = new Map<string, Claim>();

  /** @param scripts asked for late, because a Redlock is made after its nodes */
  constructor(client: GuardedClient<LockClient>, scripts: () => LockScripts) {
    this.#client = client;
    this.#scripts = scripts;
  }

  /** Why the node can't be asked now, or undefined if it can. */
  refusal(): string | undefined {
    return this.#client.refusal();
  }

  /**
   * Takes a lock that nobody wants, for a millisecond: a node that answers a PING may still refuse writes.
   *
   * @throws NodeFailure that says why the node gave no answer
   */
  async probe(name: string): Promise<void> {
    const { acquireScript } = this.#scripts();
    await this.#client.run((client) => evaluate(client, acquireScript, [name, 'probe', 1]));
  }

  /** What Redlock calls. It takes 1 for done, 0 for another's lock, and an error for a node that is out. */
  async evalsha(hash: string, _keyCount: number, args: ScriptArguments): Promise<number> {
    const { acquireScript, extendScript } = this.#scripts();
    const value = String(args[1]);
    if (hash === acquireScript.hash) return await this.#acquire(value, args);
    if (!this.#claims.has(value)) return NOT_APPLIED;
    if (hash !== extendScript.hash) return await this.#release(value, args);
    return await this.#client.run((client) => evaluate(client, extendScript, args));
  }

  /** Redlock's answer to a NOSCRIPT, which it never gets to see: {@link evaluate} has dealt with it. */
  eval(): Promise<never> {
    return Promise.reject(new Error('never called'));
  }

  async #acquire(value: string, args: ScriptArguments): Promise<number> {
    return await this.#client.run((client) => {
      const claim: Claim = { dropped: false };
      this.#claims.set(value, claim);
      const { acquireScript } = this.#scripts();
      const sent = evaluate(client, acquireScript, args, () => claim.dropped);
      sent.then(
        (applied) => {
          if (applied !== APPLIED) this.#claims.delete(value);
          else if (claim.dropped) void this.#release(value, args).catch(ignore);
        },
        (error: unknown) => {
          // Any other error leaves open whether the command arrived.
          if (isReply(error)) this.#claims.delete(value);
        },
      );
      return sent;
    });
  }

  async #release(value: string, [name]: ScriptArguments): Promise<number> {
    const claim = this.#claims.get(value);
    if (claim) claim.dropped = true;
    this.#claims.delete(value);
    // Also sent to a node that is out, behind the command that took the lock: no more of these than there were locks.
    return await this.#client.undo((client) => evaluate(client, this.#scripts().releaseScript, [String(name), value]));
  }
}

async function evaluate(
  client: LockClient,
  script: LockScript,
  args: ScriptArguments,
  cancelled: () => boolean = () => false,
): Promise<number> {
  let reply: unknown;
  try {
    reply = await client.evalsha(script.hash, 1, ...args);
  } catch (error) {
    const unknownScript = isReply(error) && error.message.startsWith('NOSCRIPT');
    if (!unknownScript || cancelled()) throw error;
    reply = await client.eval(script.value, 1, ...args);
  }
  return Number(reply); // a client with `stringNumbers` answers '1'
}

function ignore(): void {}
