import { readdirSync, readFileSync } from 'node:fs';

/** Seconds of a processor, by what used them. */
export type ProcessorUse = Readonly<Record<string, number>>;

/** Of `getconf CLK_TCK`: the same on every Linux that node runs on. */
const TICKS_PER_SECOND = 100;
const LOOK_EVERY_MS = 2_000;

const KINDS: readonly (readonly [RegExp, string])[] = [
  [/faults-app/, 'applications'],
  [/clients-process/, 'clients'],
  [/postgres|mariadbd/, 'database'],
  [/redis-server/, 'redis'],
];
const THE_LAB = 'lab and proxies';

/** Counts what this process and all its descendants use of the processors. What a process uses right before its end is lost. */
export class ProcessorMeter {
  readonly use: Record<string, number> = {};
  private seen = processes();
  private readonly timer = setInterval(() => this.look(), LOOK_EVERY_MS);

  stop(): ProcessorUse {
    clearInterval(this.timer);
    this.look();
    return this.use;
  }

  private look(): void {
    const now = processes();
    for (const [pid, { kind, seconds }] of now) {
      this.use[kind] = (this.use[kind] ?? 0) + seconds - (this.seen.get(pid)?.seconds ?? 0);
    }
    this.seen = now;
  }
}

interface Process {
  readonly parent: number;
  readonly kind: string;
  readonly seconds: number;
}

function processes(): Map<number, Process> {
  const all = new Map<number, Process>();
  for (const name of readdirSync('/proc')) {
    const found = /^\d+$/.test(name) && read(name);
    if (found) all.set(Number(name), found);
  }
  const isOurs = (pid: number): boolean => pid === process.pid || (all.has(pid) && isOurs(all.get(pid)!.parent));
  return new Map([...all].filter(([pid]) => isOurs(pid)));
}

function read(pid: string): Process | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
    const fields = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
    const kind = KINDS.find(([pattern]) => pattern.test(command))?.[1] ?? THE_LAB;
    return { parent: fields[1], kind, seconds: (fields[11] + fields[12]) / TICKS_PER_SECOND };
  } catch {
    return undefined;
  }
}
