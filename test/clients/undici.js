import { Agent, request, RetryAgent } from 'undici';

const dispatcher = new RetryAgent(new Agent(), {
  maxRetries: 8,
  methods: ['POST'],
  statusCodes: [408, 409, 425, 429, 502, 503, 504],
  errorCodes: ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET', 'UND_ERR_HEADERS_TIMEOUT'],
});

export async function pay(url, payment, key, timeout = 10_000) {
  const { statusCode, body } = await request(url, {
    dispatcher,
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key },
    body: JSON.stringify(payment),
    headersTimeout: timeout, // of one attempt
  });
  const answer = await body.json();
  if (statusCode >= 400) throw new Error(answer.detail ?? answer.message);
  return answer;
}
