/** Headers and payloads of messages. */
export const CONTEXTS: [Record<string, unknown>, unknown][] = [
  [{}, null],
  [{ 'Idempotency-Key': [] }, undefined],
  [{ 'Idempotency-Key': [undefined, null] }, undefined],
  [{ 'Idempotency-Key': { a: 1 } }, undefined],
  [{ 'Idempotency-Key': 1n }, undefined],
  [{ 'Idempotency-Key': () => 'a' }, undefined],
  [{ 'Idempotency-Key': Symbol('a') }, undefined],
  [{}, { specversion: '1.0', id: '', source: 'a' }],
  [{ 'ce-id': 'a' }, { specversion: '1.0', id: 1, source: 'a' }],
];

interface Identity {
  namespace: string | undefined;
  host: string | undefined;
  scope: string;
  endpoint: string;
  key: string;
}

const NONE: Identity = { namespace: undefined, host: undefined, scope: '', endpoint: '', key: '' };

/** Pairs of identities. */
export const IDENTITIES: [Identity, Identity][] = [
  [
    { ...NONE, scope: 'a', endpoint: 'b' },
    { ...NONE, scope: 'ab' },
  ],
  [
    { ...NONE, scope: '\ud800' },
    { ...NONE, scope: '\ud801' },
  ],
  [
    { ...NONE, key: '1:a' },
    { ...NONE, endpoint: 'a' },
  ],
];
