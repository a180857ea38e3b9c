/** A shorter password may be a common word: removed everywhere, it would make messages unreadable. */
const MIN_REMOVED_LENGTH = 8;

/** Returns a function that removes a URL and its password from a text: errors of drivers repeat both. */
export function redacting(url: string): (text: string) => string {
  // Not `new URL()`, which refuses a password that is not percent-encoded: takes what is between the first colon and the last "@".
  const password = /^[^:]+:\/\/[^/?#]*?:(.*)@/.exec(url)?.[1];
  if (!password) return (text) => text;
  const forms = [password, decoded(password)];
  const secrets = [
    url,
    ...forms.map((form) => `:${form}@`),
    ...forms.filter((form) => form.length >= MIN_REMOVED_LENGTH),
  ];
  return (text) => secrets.reduce((clean, secret) => clean.replaceAll(secret, '***'), text);
}

/** A URL with a password. It ends at the last `@` of the word, because a password that is not encoded may contain one. */
const URL_WITH_PASSWORD = /(\b[a-z][a-z0-9+.-]*:\/\/[^\s/?#:@]*):\S*@/gi;

/** Removes the passwords of all URLs in a text, and the given secrets. */
export function withoutSecrets(text: string, secrets: readonly string[]): string {
  const without = (clean: string, secret: string) => {
    if (secret.includes('://')) return redacting(secret)(clean);
    return secret.length < MIN_REMOVED_LENGTH ? clean : clean.replaceAll(secret, '***');
  };
  return secrets.reduce(without, text).replace(URL_WITH_PASSWORD, '$1:***@');
}

/** Returns the passwords and URLs in the options of a client, some levels deep. */
export function secretsIn(options: unknown, depth = 0): string[] {
  if (Array.isArray(options)) return options.flatMap((one) => secretsIn(one, depth + 1));
  if (typeof options !== 'object' || options === null || depth > 4) return [];
  return Object.entries(options).flatMap(([name, value]: [string, unknown]) =>
    typeof value === 'string' && /password|secret|url|uri/i.test(name) ? [value] : secretsIn(value, depth + 1),
  );
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
