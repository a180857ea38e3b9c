/** Runs the functions of a k6 script in Node: `import` finds these stubs in place of k6's modules. */
import { register } from 'node:module';

const check = `export const check = (value, checks) => {
  const results = Object.entries(checks).map(([name, holds]) => [name, Boolean(holds(value))]);
  globalThis.k6.checks.push(...results);
  return results.every(([, holds]) => holds);
};
export const fail = (message) => { throw new Error(message); };`;

const http = `export default {
  async asyncRequest(method, url, body, { headers = {} } = {}) {
    const response = await fetch(url, { method, headers, body });
    const text = await response.text();
    const canonical = (name) => name.replace(/\\b\\w/g, (letter) => letter.toUpperCase());
    return {
      status: response.status,
      headers: Object.fromEntries([...response.headers].map(([name, value]) => [canonical(name), value])),
      body: text,
      json: () => JSON.parse(text),
    };
  },
};`;

const metrics = `class Metric {
  constructor(name) { this.values = globalThis.k6.metrics[name] = []; }
  add(value) { this.values.push(Number(value)); }
}
export { Metric as Counter, Metric as Rate };`;

const modules = { k6: check, 'k6/http': http, 'k6/metrics': metrics };
const urlOf = (source) => `data:text/javascript,${encodeURIComponent(source)}`;
const hooks = `const modules = ${JSON.stringify(
  Object.fromEntries(Object.entries(modules).map(([name, source]) => [name, urlOf(source)])),
)};
export const resolve = (name, context, next) =>
  modules[name] ? { url: modules[name], format: 'module', shortCircuit: true } : next(name, context);`;

/**
 * @param {string} script URL of the script
 * @param {Record<string, string>} env what `k6 run -e` sets
 */
export async function loadK6(script, env) {
  globalThis.__ENV = env;
  globalThis.k6 = { checks: [], metrics: {} };
  register(urlOf(hooks));
  return { ...(await import(script)), results: globalThis.k6 };
}
