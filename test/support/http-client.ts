import { Agent, request } from 'node:http';

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

export interface Call {
  readonly key?: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly method?: string;
  readonly signal?: AbortSignal;
}

const agent = new Agent({ keepAlive: true, maxSockets: 1_000 });

/** Sends JSON and reads the whole answer. Rejects when the connection is lost. */
export function call(url: string, { key, body = {}, headers, method = 'POST', signal }: Call = {}): Promise<Answer> {
  const text = JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const sent = request(
      url,
      {
        method,
        agent,
        signal,
        headers: {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(text),
          ...(key !== undefined && { 'idempotency-key': key }),
          ...headers,
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () =>
          resolve({
            status: response.statusCode!,
            headers: response.headers,
            body: Buffer.concat(chunks).toString(),
          }),
        );
      },
    );
    sent.on('error', reject);
    sent.end(text);
  });
}

/** As a careful client: tries again, at any of the urls, until the answer is definitive. */
export async function callUntilDefinitive(
  urls: readonly string[],
  options: Call,
  { timeoutMs = 20_000, pauseMs = 40 }: { timeoutMs?: number; pauseMs?: number } = {},
): Promise<Answer> {
  const giveUpAt = Date.now() + timeoutMs;
  let last: unknown;
  for (let i = Math.floor(Math.random() * urls.length); Date.now() < giveUpAt; i++) {
    try {
      const answer = await call(urls[i % urls.length], options);
      if (!isRetryable(answer)) return answer;
      last = `${answer.status} ${answer.body}`;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs * (0.5 + Math.random())));
  }
  throw new Error(`no definitive answer within ${timeoutMs} ms; the last was ${String(last)}`);
}

function isRetryable({ status, body }: Answer): boolean {
  return status >= 500 || (status === 409 && (JSON.parse(body) as { retryable?: boolean }).retryable === true);
}
