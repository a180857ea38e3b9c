import { Client, fetchExchange, gql } from '@urql/core';
import { retryExchange } from '@urql/exchange-retry';

const PAY = gql`
  mutation ($name: String!) {
    pay(name: $name) {
      id
    }
  }
`;

const retrying = retryExchange({
  maxNumberAttempts: 12,
  initialDelayMs: 500,
  maxDelayMs: 5_000,
  retryIf({ networkError, graphQLErrors, response }) {
    if (!networkError) return graphQLErrors.some(({ extensions }) => extensions.retryable === true);
    return response === undefined || [408, 425, 429, 502, 503, 504].includes(response.status);
  },
});

const client = (url) => new Client({ url, preferGetMethod: false, exchanges: [retrying, fetchExchange] });

export async function pay(url, variables, key) {
  // An object: urql calls a function for each attempt.
  const fetchOptions = { headers: { 'Idempotency-Key': key } };
  const { data, error } = await client(url).mutation(PAY, variables, { fetchOptions }).toPromise();
  if (error) throw error;
  return data.pay;
}
