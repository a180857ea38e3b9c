import axios from 'axios';
import axiosRetry, { exponentialDelay } from 'axios-retry';

const client = axios.create();
axiosRetry(client, {
  retries: 8,
  retryDelay: exponentialDelay, // obeys Retry-After
  shouldResetTimeout: true, // otherwise an attempt that timed out is the last one
  retryCondition(error) {
    if (axios.isCancel(error)) return false;
    const { status, data } = error.response ?? {};
    if (status === undefined || status < 400) return true; // no response, or one that broke off
    return data?.retryable ?? [408, 425, 429, 502, 503, 504].includes(status);
  },
});

export async function pay(url, payment, key, timeout = 10_000) {
  const { data } = await client.post(url, payment, { headers: { 'Idempotency-Key': key }, timeout });
  return data;
}
