import { cachedApplication } from './application.js';

/** The parts of an HTTP event that matter here, as API Gateway and others have them. */
export interface HttpEvent {
  readonly httpMethod: 'GET' | 'POST';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
  /** Set by gateways for bodies that they take for binary. */
  readonly isBase64Encoded?: boolean;
}

export interface HttpResult {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Called by the platform for each HTTP request. Listens to no port. */
export async function handler(event: HttpEvent): Promise<HttpResult> {
  const app = await cachedApplication();
  const { statusCode, headers, body } = await app.inject({
    method: event.httpMethod,
    url: event.path,
    headers: event.headers,
    payload: event.body === null ? undefined : Buffer.from(event.body, event.isBase64Encoded ? 'base64' : 'utf8'),
  });
  const texts = Object.entries(headers).map(([name, value]) => [name, String(value)] as const);
  return { statusCode, headers: Object.fromEntries(texts), body };
}
