import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

const TICKS_A_SECOND = Number(execFileSync('getconf', ['CLK_TCK']));

/**
 * CPU time of a process so far, in microseconds.
 *
 * @param {number} pid
 * @param {{ children?: boolean }} [options] `children`: those that run and those that have ended, too
 */
export function cpuOf(pid, { children = false } = {}) {
  const all = children ? [pid, ...childrenOf(pid)] : [pid];
  const ticks = all.map((one) => ticksOf(one, children && one === pid)).reduce((sum, one) => sum + one, 0);
  return (ticks / TICKS_A_SECOND) * 1e6;
}

/**
 * @param {number} pid
 * @param {boolean} withEnded
 */
function ticksOf(pid, withEnded) {
  try {
    const [utime, stime, cutime, cstime] = fields(pid).slice(11, 15).map(Number);
    return utime + stime + (withEnded ? cutime + cstime : 0);
  } catch {
    return 0;
  }
}

/** @param {number} pid */
function childrenOf(pid) {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((one) => {
    try {
      return Number(fields(one)[1]) === pid;
    } catch {
      return false;
    }
  });
}

/**
 * What stands behind the name in /proc/<pid>/stat; the name may hold spaces.
 *
 * @param {number} pid
 */
function fields(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}
