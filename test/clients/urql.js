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
  retryIf: ({ networkError, graphQLErrors }) =>
    networkError !== undefined || graphQLErrors.some(({ extensions }) => extensions.retryable === true),
});

const client = (url) => new Client({ url, preferGetMethod: false, exchanges: [retrying, fetchExchange] });

export async function pay(url, variables, key) {
  // An object: urql calls a function for each attempt.
  const fetchOptions = { headers: { 'Idempotency-Key': key } };
  const { data, error } = await client(url).mutation(PAY, variables, { fetchOptions }).toPromise();
  if (error) throw error;
  return data.pay;
}
