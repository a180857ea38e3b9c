import type { ChildProcess } from 'node:child_process';

let count = 0;

/** Sends a command to a process that `fork` started, and waits for its answer. */
export function askChild<T>(child: ChildProcess, command: object, limitMs = 30_000): Promise<T> {
  const id = ++count;
  return new Promise((resolve, reject) => {
    const end = (error?: Error) => {
      clearTimeout(timer);
      child.off('message', hear);
      child.off('exit', gone);
      if (error) reject(error);
    };
    const hear = (answer: { id?: number; value?: T }) => {
      if (answer.id !== id) return;
      end();
      resolve(answer.value as T);
    };
    const gone = () => end(new Error('the process has ended'));
    const timer = setTimeout(() => end(new Error(`no answer to ${JSON.stringify(command)}`)), limitMs);
    child.on('message', hear);
    child.once('exit', gone);
    child.send({ ...command, id }, (error) => error && end(error));
  });
}
