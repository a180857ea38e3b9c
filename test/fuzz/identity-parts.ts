import fc from 'fast-check';

/** Strings of what the text of an identity is made of, and of what UTF-8 cannot carry. */
const awkward = fc.string({
  unit: fc.constantFrom('n', 'h', 'w', ':', '1', '0', 'é', '\ud800', '\udc00', '\0'),
  maxLength: 6,
});

/** What an identity is the digest of. */
export const identityParts = fc.record({
  namespace: fc.option(
    awkward.filter((text) => text !== ''),
    { nil: undefined },
  ),
  host: fc.option(awkward, { nil: undefined }),
  scope: awkward,
  endpoint: awkward,
  key: awkward,
});
