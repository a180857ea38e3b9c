import { execFileSync } from 'node:child_process';
import { chownSync, rmSync, statfsSync, statSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Room for the records of a run. */
const SIZE = 1 << 30;

/** A small disk for the tables of a run, which can be filled up. Only root can mount one. */
export class Disk {
  private mounted = true;
  private readonly unmountAtExit = () => this.unmount();

  private constructor(readonly folder: string) {
    process.once('exit', this.unmountAtExit);
  }

  /** @param server the process of the server that is to write to it */
  static async mount(server: number): Promise<Disk | undefined> {
    if (process.getuid?.() !== 0) return undefined;
    const folder = await mkdtemp(join(tmpdir(), 'idempotency-disk-'));
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${SIZE}`, 'none', folder], { stdio: 'ignore' });
    } catch {
      rmSync(folder, { recursive: true });
      return undefined;
    }
    const { uid, gid } = statSync(`/proc/${server}`);
    chownSync(folder, uid, gid);
    return new Disk(folder);
  }

  /** Leaves no room beside what is there. */
  fill(): void {
    // What is written meanwhile makes it fail: there would be less room than is taken.
    for (let full = false; !full;) {
      const { blocks, bfree, bsize } = statfsSync(this.folder);
      full = this.resize((blocks - bfree) * bsize);
    }
  }

  free(): void {
    this.resize(SIZE);
  }

  unmount(): void {
    if (!this.mounted) return;
    this.mounted = false;
    process.off('exit', this.unmountAtExit);
    execFileSync('umount', ['--lazy', this.folder], { stdio: 'ignore' });
    rmSync(this.folder, { recursive: true, force: true });
  }

  private resize(bytes: number): boolean {
    try {
      execFileSync('mount', ['-o', `remount,size=${bytes}`, this.folder], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  }
}
