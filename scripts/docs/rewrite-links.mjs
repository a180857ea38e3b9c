/** Relative links of a page, written for another place. */

/** `https:`, `mailto:`, `//host`, and headings of the page itself. */
const NOT_RELATIVE = /^([a-z][a-z0-9+.-]*:|\/\/|#)/i;

const FENCED = /^( *)(`{3,}|~{3,})[^\n]*\n[\s\S]*?^\1?\2`*[ \t]*$/gm;
/** In this order: code, in which nothing is a link; pictures; links, in whose text there may be code; elements. */
const LINKS =
  /(?<code>(`+)(?!`)[\s\S]*?[^`]\2(?!`))|(?<image>!)?\[(?<text>(?:`[^`]*`|!\[[^\]]*\]\([^)]*\)|[^\]`])*)\]\((?<target>[^)\s]+)\)|(?<before>\b(?:href|src|srcset)=")(?<attribute>[^"\s]+)"/g;

/**
 * @param {string} markdown
 * @param {(target: string) => string | undefined} resolve the new target; without one, a link becomes its text, and a picture nothing
 */
export function rewriteLinks(markdown, resolve) {
  let rewritten = '';
  let end = 0;
  for (const fence of markdown.matchAll(FENCED)) {
    rewritten += inProse(markdown.slice(end, fence.index), resolve) + fence[0];
    end = fence.index + fence[0].length;
  }
  return rewritten + inProse(markdown.slice(end), resolve);
}

/**
 * @param {string} prose
 * @param {(target: string) => string | undefined} resolve
 */
function inProse(prose, resolve) {
  return prose.replaceAll(LINKS, (whole, ...rest) => {
    /** @type {Record<string, string | undefined>} */
    const { code, image = '', text = '', target, before, attribute } = rest.at(-1);
    const old = target ?? attribute;
    if (code || old === undefined || NOT_RELATIVE.test(old)) return whole;
    const wanted = resolve(old);
    if (before) return `${before}${wanted ?? ''}"`;
    if (wanted !== undefined) return `${image}[${text}](${wanted})`;
    return image ? '' : text;
  });
}
