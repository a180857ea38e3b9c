import { fork } from 'node:child_process';
import { once } from 'node:events';
import { ExitCode } from '../exit-codes.js';

/** The environment variable that marks the second process. */
const MARK = 'NESTJS_IDEMPOTENCY_DOCTOR';

/**
 * Runs `work`, which loads an application, in a second process of this program. That process has stderr as its stdout: pino, for
 * example, writes to file descriptor 1 itself, and would break the JSON of the result. The result comes as a message.
 *
 * @returns in the first process the result, or the exit code if there is none; in the second an exit code
 */
export async function inOwnProcess<T extends object>(work: () => Promise<T>): Promise<T | ExitCode> {
  const send = process.send?.bind(process);
  if (send && process.env[MARK] !== undefined) {
    // Applications call `process.send('ready')` for process managers. It would be taken for the result.
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
