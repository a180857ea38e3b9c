/** A password that is shorter is a word that stands for something else in many messages. */
const TELLING = 8;

/** Takes the database's URL and its password out of a text: drivers repeat what they were given. */
export function redacting(url: string): (text: string) => string {
  // Also where the URL cannot be parsed: everything between the first colon of the authority and its last "@".
  const password = /^[^:]+:\/\/[^/?#]*?:(.*)@/.exec(url)?.[1];
  if (!password) return (text) => text;
  const forms = [password, decoded(password)];
  const secrets = [url, ...forms.map((form) => `:${form}@`), ...forms.filter((form) => form.length >= TELLING)];
  return (text) => secrets.reduce((clean, secret) => clean.replaceAll(secret, '***'), text);
}

/** A URL with a password, up to the last `@` of the word: where passwords are not encoded, they may contain one. */
const URL_WITH_PASSWORD = /(\b[a-z][a-z0-9+.-]*:\/\/[^\s/?#:@]*):\S*@/gi;

/** Takes passwords out of a text: those of all URLs in it, and those that are known. */
export function withoutSecrets(text: string, secrets: readonly string[]): string {
  const without = (clean: string, secret: string) => {
    if (secret.includes('://')) return redacting(secret)(clean);
    return secret.length < TELLING ? clean : clean.replaceAll(secret, '***');
  };
  return secrets.reduce(without, text).replace(URL_WITH_PASSWORD, '$1:***@');
}

/** Passwords and URLs in the options of a client, at any depth. */
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
