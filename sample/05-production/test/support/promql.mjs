/** The names in a PromQL expression. No parser: enough for expressions without subqueries and strings outside of matchers. */
const KEYWORDS = new Set(['and', 'or', 'unless', 'on', 'ignoring', 'group_left', 'group_right', 'bool', 'offset']);
const GROUPING = /\b(?:by|without)\s*\(([^)]*)\)/g;
const MATCHERS = /\{([^}]*)\}/g;

/** @param {string} expression */
export function metricsOf(expression) {
  const rest = expression
    .replace(GROUPING, ' ')
    .replace(MATCHERS, ' ')
    .replace(/\[[^\]]*\]/g, ' ');
  const names = rest.matchAll(/(?<![\w.])[a-z_][a-z0-9_:]*(?![\w(]|\s*\()/g);
  return [...names].map(([name]) => name).filter((name) => !KEYWORDS.has(name));
}

/** @param {string} expression */
export function labelsOf(expression) {
  const grouped = [...expression.matchAll(GROUPING)].flatMap(([, names]) => names.split(','));
  const matched = [...expression.matchAll(MATCHERS)].flatMap(([, matchers]) =>
    [...matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"/g)].map(([, name]) => name),
  );
  return [...grouped, ...matched].map((name) => name.trim()).filter(Boolean);
}
