import got from 'got';

export function pay(url, payment, key, timeout = 10_000) {
  return got
    .post(url, {
      json: payment,
      headers: { 'Idempotency-Key': key },
      timeout: { request: timeout }, // of one attempt; got has none by default
      retry: {
        limit: 8,
        methods: ['POST'],
        statusCodes: [408, 409, 425, 429, 502, 503, 504],
        backoffLimit: 5_000,
        calculateDelay({ error, computedValue }) {
          const isFinal = error.response?.statusCode === 409 && !JSON.parse(error.response.body).retryable;
          return isFinal ? 0 : computedValue; // 0: no retry
        },
      },
    })
    .json();
}
