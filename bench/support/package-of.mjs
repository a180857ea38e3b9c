/**
 * The package that a function of a profile belongs to.
 *
 * @param {string} url
 * @param {string} functionName
 */
export function packageOf(url, functionName) {
  const inModules = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url);
  if (inModules) return inModules[1].startsWith('@nestjs/') ? '@nestjs' : inModules[1];
  if (url.includes('/dist/')) return 'nestjs-idempotency';
  if (url.includes('/.built/')) return 'the application';
  if (functionName === '(garbage collector)') return 'garbage collector';
  return url.startsWith('node:') ? 'node' : 'node, native';
}
