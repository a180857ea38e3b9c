import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { processesBelow } from '../../support/processes.js';

const TICKS_A_SECOND = Number(execFileSync('getconf', ['CLK_TCK']));
/** Where Linux keeps quotas of CPU time, in its older and its newer form. */
const FOLDERS = ['/sys/fs/cgroup/cpu', '/sys/fs/cgroup'] as const;
const PERIOD_US = 20_000;

/** What processes and those that they started have used of CPUs until now, in milliseconds. */
export function cpuOf(pids: readonly number[]): number {
  return pids.flatMap((pid) => [pid, ...processesBelow(pid)]).reduce((sum, pid) => sum + usedBy(pid), 0);
}

function usedBy(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // Of the process, and of its children that have ended.
    const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
    return (ticks / TICKS_A_SECOND) * 1_000;
  } catch {
    return 0;
  }
}

/** A share of the CPUs for some processes and those that they start. Only root can give one, and not in every container. */
export class CpuShare {
  private constructor(private readonly folder: string) {}

  static of(name: string, cpus: number): CpuShare | undefined {
    const root = FOLDERS.find((folder) => existsSync(join(folder, 'cgroup.procs')));
    if (root === undefined) return undefined;
    const folder = join(root, `idempotency-${process.pid}-${name}`);
    try {
      if (root === FOLDERS[1]) writeFileSync(join(root, 'cgroup.subtree_control'), '+cpu');
      mkdirSync(folder);
      const quota = String(cpus * PERIOD_US);
      if (root === FOLDERS[1]) writeFileSync(join(folder, 'cpu.max'), `${quota} ${PERIOD_US}`);
      else {
        writeFileSync(join(folder, 'cpu.cfs_period_us'), String(PERIOD_US));
        writeFileSync(join(folder, 'cpu.cfs_quota_us'), quota);
      }
      return new CpuShare(folder);
    } catch {
      return undefined;
    }
  }

  take(pid: number): void {
    for (const one of [pid, ...processesBelow(pid)]) writeFileSync(join(this.folder, 'cgroup.procs'), String(one));
  }

  /** Once its processes have ended. */
  dispose(): void {
    rmdirSync(this.folder);
  }
}
