import { execFileSync } from 'node:child_process';
import { chownSync, rmSync, statSync } from 'node:fs';
import { mkdtemp, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SIZE = '24m';

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

  /** Leaves no byte free. */
  async fill(): Promise<void> {
    const file = await open(this.filler, 'w');
    try {
      for (const size of [1 << 20, 1 << 12]) {
        while (await written(file.write(Buffer.alloc(size)), size));
      }
    } finally {
      await file.close();
    }
  }

  free(): void {
    rmSync(this.filler, { force: true });
  }

  unmount(): void {
    if (!this.mounted) return;
    this.mounted = false;
    process.off('exit', this.unmountAtExit);
    execFileSync('umount', ['--lazy', this.folder], { stdio: 'ignore' });
    rmSync(this.folder, { recursive: true, force: true });
  }

  private get filler(): string {
    return join(this.folder, 'filler');
  }
}

/** Whether all of it was. */
function written(writing: Promise<{ bytesWritten: number }>, size: number): Promise<boolean> {
  return writing.then(
    ({ bytesWritten }) => bytesWritten === size,
    () => false,
  );
}
