import ky from 'ky';

export function pay(url, payment, key, timeout = 10_000) {
  return ky
    .post(url, {
      json: payment,
      headers: { 'Idempotency-Key': key },
      timeout, // of one attempt
      retry: {
        limit: 8,
        methods: ['post'],
        statusCodes: [408, 409, 425, 429, 502, 503, 504],
        afterStatusCodes: [409, 429, 503], // where it obeys Retry-After
        backoffLimit: 5_000,
        retryOnTimeout: true,
        async shouldRetry({ error: { response, data } }) {
          if (response?.status !== 409) return undefined; // as the lists above say
          return (data ?? (await response.clone().json())).retryable; // ky 2 has read the body into `data`
        },
      },
    })
    .json();
}
