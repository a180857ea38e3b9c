import { cachedApplication } from './application.js';

/** The parts of an HTTP event that matter here, as API Gateway and others have them. */
export interface HttpEvent {
  readonly httpMethod: 'GET' | 'POST';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
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
    payload: event.body ?? undefined,
  });
  const texts = Object.entries(headers).map(([name, value]) => [name, String(value)] as const);
  return { statusCode, headers: Object.fromEntries(texts), body };
}
