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

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
