/** The hash has all that a view needs, so that an operator can send its link to a colleague: `#/?status=held`, `#/records/<id>`. */

const FILTERS = ['status', 'operation', 'scope', 'key', 'host', 'id', 'minAge', 'maxAge', 'order', 'cursor'];

/** @typedef {{ view: 'list', query: Record<string, string> } | { view: 'record', id: string }} Route */

/** @returns {Route} */
export function currentRoute() {
  const [path, search = ''] = location.hash.slice(1).split(/\?(.*)/s);
  const record = /^\/records\/([^/]+)$/.exec(path);
  if (record) return { view: 'record', id: decoded(record[1]) };
  const given = new URLSearchParams(search);
  const query = {};
  for (const name of FILTERS) if (given.get(name)) query[name] = given.get(name);
  return { view: 'list', query };
}

/** A copied link may be cut in the middle of a `%20`. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** @param {Record<string, string | undefined>} query */
export function listHref(query) {
  const parameters = new URLSearchParams();
  for (const name of FILTERS) if (query[name]) parameters.set(name, query[name]);
  return parameters.size === 0 ? '#/' : `#/?${parameters}`;
}

export const recordHref = (id) => `#/records/${encodeURIComponent(id)}`;
