import { type Agent, request } from 'node:http';

export interface Reply {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly replayed: boolean;
}

export interface Unanswered {
  readonly why: 'broken' | 'timeout';
  readonly error?: string;
}

/** Sends JSON, and waits so many milliseconds for an answer. */
export function post(
  agent: Agent,
  url: string,
  body: object,
  headers: Record<string, string>,
  patienceMs: number,
): Promise<Reply | Unanswered> {
  const text = JSON.stringify(body);
  return new Promise<Reply | Unanswered>((resolve) => {
    const sent = request(
      url,
      {
        method: 'POST',
        agent,
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), ...headers },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', (error) => resolve({ why: 'broken', error: error.message }));
        response.on('end', () =>
          resolve({
            status: response.statusCode!,
            type: response.headers['content-type'] ?? '',
            body: Buffer.concat(chunks).toString(),
            replayed: response.headers['idempotent-replayed'] === 'true',
          }),
        );
      },
    );
    const timer = setTimeout(() => {
      resolve({ why: 'timeout' });
      sent.destroy();
    }, patienceMs);
    sent.on('error', (error) => resolve({ why: 'broken', error: error.message }));
    sent.on('close', () => clearTimeout(timer));
    sent.end(text);
  });
}
