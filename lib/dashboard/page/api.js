/** Requests to the server, and its errors. URLs are relative: the page does not know the prefix that it is mounted behind. */

const TIMEOUT_MS = 35_000;

/** Parameters that must not be in access logs. The server takes them only in a header. */
const HIDDEN = ['key', 'scope', 'host'];

/** An unsuccessful response. `status` is 0 without a response. */
export class RequestError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export const getInfo = () => request('api/info');

export const getActivity = () => request('api/activity');

/** @param {Record<string, string | number | undefined>} query */
export function getRecords(query, signal) {
  const parameters = new URLSearchParams();
  const hidden = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value) (HIDDEN.includes(name) ? hidden : parameters).set(name, String(value));
  }
  return request(`api/records?${parameters}`, {
    signal,
    ...(hidden.size > 0 && { headers: { 'X-Idempotency-Lookup': String(hidden) } }),
  });
}

export const getRecord = (id, signal) => request(`api/records/${encodeURIComponent(id)}`, { signal });

/** @param {{ action: string, ids: string[], reason: string }} change */
export const changeRecords = (change) => post('api/bulk', change);

export const changeRecord = (id, action, body) => post(`api/records/${encodeURIComponent(id)}/${action}`, body);

function post(path, body) {
  // Other origins can send neither header without a preflight, which the server does not answer.
  const headers = { 'Content-Type': 'application/json', 'X-Idempotency-Dashboard': '1' };
  return request(path, { method: 'POST', headers, body: JSON.stringify(body) });
}

async function request(path, options = {}) {
  const { signal, ...rest } = options;
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const signals = signal ? AbortSignal.any([signal, timeout]) : timeout;
  let response;
  try {
    response = await fetch(path, { ...rest, signal: signals, cache: 'no-store' });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new RequestError(0, 'unreachable', 'The application does not answer.');
  }
  const body = await response.json().catch(() => undefined);
  if (response.ok && body !== undefined) return body;
  // Responses of guards have the application's form, and may be a login page.
  const { code = 'unknown', message = ofStatus(response.status) } = body?.error ?? {};
  throw new RequestError(response.ok ? 401 : response.status, code, message);
}

function ofStatus(status) {
  if (status < 400) return 'The application answered with another page: your session may have ended.';
  if (status === 401) return 'The application does not know you any more: log in again, then reload this page.';
  if (status === 403) return 'The application does not allow you to do this.';
  return `The application answered ${status}.`;
}

/** Returns a title and what to do, for an error that is shown instead of content. */
export function explain(error) {
  if (!(error instanceof RequestError)) return { title: 'Something went wrong in this page', text: String(error) };
  if (error.status === 0) {
    return { title: 'The application does not answer', text: 'It may be restarting. This page tries again by itself.' };
  }
  if (error.status === 401) return { title: 'You are not logged in', text: error.message };
  if (error.status === 403) return { title: 'You may not see this', text: error.message };
  if (error.status === 404) {
    return { title: 'There is no such record', text: 'It has been forgotten, or its retention has ended.' };
  }
  if (error.code === 'store-unavailable') {
    return { title: 'The database does not answer', text: `${error.message} This page tries again by itself.` };
  }
  return { title: 'The application could not answer', text: error.message };
}

/** Returns whether a retry may succeed. */
export const isTransient = (error) => !(error instanceof RequestError) || error.status === 0 || error.status >= 500;
