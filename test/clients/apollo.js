import { ApolloClient, ApolloLink, gql, HttpLink, InMemoryCache } from '@apollo/client';
import { RetryLink } from '@apollo/client/link/retry';
import { map } from 'rxjs';

const PAY = gql`
  mutation ($name: String!) {
    pay(name: $name) {
      id
    }
  }
`;

/** An error that `RetryLink` sees: it knows nothing of the errors in a result. */
const throwRetryable = new ApolloLink((operation, forward) =>
  forward(operation).pipe(
    map((result) => {
      const refusal = result.errors?.find(({ extensions }) => extensions?.retryable === true);
      if (refusal) throw new Error(refusal.message);
      return result;
    }),
  ),
);

const retrying = new RetryLink({
  attempts: {
    max: 20,
    retryIf: ({ statusCode }) => statusCode === undefined || [408, 425, 429, 502, 503, 504].includes(statusCode),
  },
  delay: { initial: 500, max: 5_000 },
});

const client = (uri) =>
  new ApolloClient({
    cache: new InMemoryCache(),
    link: ApolloLink.from([retrying, throwRetryable, new HttpLink({ uri })]),
  });

export async function pay(uri, variables, key) {
  // Beside the variables: a link after RetryLink would make a key for each attempt.
  const context = { headers: { 'Idempotency-Key': key } };
  const { data } = await client(uri).mutate({ mutation: PAY, variables, context });
  return data.pay;
}
