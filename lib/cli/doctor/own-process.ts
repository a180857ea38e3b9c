import { fork } from 'node:child_process';
import { once } from 'node:events';
import { ExitCode } from '../exit-codes.js';

/** Says to the command's second process which of the two it is. */
const MARK = 'NESTJS_IDEMPOTENCY_DOCTOR';

/**
 * Does work that loads an application in a second process of this command. That process has stderr as its stdout, so that nothing that
 * the application prints gets into the result: pino, for example, writes to the file descriptor itself. The result comes by message.
 *
 * @returns in the first process, the result, or the exit code where there is none; in the second, an exit code
 */
export async function inOwnProcess<T extends object>(work: () => Promise<T>): Promise<T | ExitCode> {
  const send = process.send?.bind(process);
  if (send && process.env[MARK] !== undefined) {
    // Applications tell process managers by it that they are ready.
    process.send = undefined;
    delete process.env[MARK];
    process.once('disconnect', () => process.exit());
    const result = await work();
    await new Promise((sent) => send({ [MARK]: result }, sent));
    return ExitCode.fine;
  }
  const child = fork(process.argv[1], process.argv.slice(2), {
    env: { ...process.env, [MARK]: '1' },
    stdio: ['inherit', 2, 2, 'ipc'],
  });
  let result: T | undefined;
  child.on('message', (message: { [MARK]?: T }) => (result ??= message[MARK]));
  const [code] = (await once(child, 'close')) as [number | null];
  return result ?? ((code ?? ExitCode.database) as ExitCode);
}
