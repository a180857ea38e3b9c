import { posix } from 'node:path';
import GithubSlugger from 'github-slugger';
import { defineConfig } from 'vitepress';
import { manifest, repositoryUrl } from '../../scripts/docs/repository.mjs';
import { siteMap } from '../../scripts/docs/site-map.mjs';

const { name, description } = manifest();
const repository = repositoryUrl();
const htmlOf = (target) => `/${target.replace(/(^|\/)index\.md$/, '$1').replace(/\.md$/, '')}`;

/** Other elements are text with a placeholder, such as `<name>`, and no component. */
const ELEMENT = /^<(?:\/?(?:a|br|details|img|kbd|picture|source|sub|summary|sup)\b|!--)/;

export default defineConfig({
  lang: 'en',
  title: name,
  description,
  base: process.env.SITE_BASE ?? '/',
  head: [['link', { rel: 'icon', href: 'data:,' }]],
  srcDir: '.pages',
  ignoreDeadLinks: 'localhostLinks',
  outDir: 'dist',
  markdown: {
    // Headings have the anchors that GitHub gives them: the pages link to these.
    anchor: { slugify: (text) => new GithubSlugger().slug(text) },
    config(markdown) {
      const { fence, html_inline: html } = markdown.renderer.rules;
      const block = markdown.block.ruler.__rules__.find((rule) => rule.name === 'html_block').fn;
      markdown.block.ruler.at(
        'html_block',
        (state, line, ...rest) => {
          const text = state.src.slice(state.bMarks[line] + state.tShift[line], state.eMarks[line]);
          return ELEMENT.test(text) && block(state, line, ...rest);
        },
        { alt: ['paragraph', 'reference', 'blockquote'] },
      );
      markdown.renderer.rules.html_inline = (tokens, index, ...rest) => {
        const { content } = tokens[index];
        return ELEMENT.test(content) ? html(tokens, index, ...rest) : markdown.utils.escapeHtml(content);
      };
      markdown.renderer.rules.fence = (tokens, index, ...rest) => {
        const [, file] = /\btitle="([^"]+)"/.exec(tokens[index].info) ?? [];
        const block = fence(tokens, index, ...rest);
        return file ? `<p class="file">${markdown.utils.escapeHtml(file)}</p>${block}` : block;
      };
    },
  },
  // Each page is there as Markdown too.
  transformHead: ({ pageData: { relativePath } }) => [
    ['link', { rel: 'alternate', type: 'text/markdown', href: posix.basename(relativePath) }],
  ],
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    sidebar: siteMap().map(({ title, isOptional, pages }) => ({
      text: title,
      collapsed: isOptional,
      items: pages.map((page) => ({
        text: page.target === 'index.md' ? 'Overview' : page.title,
        link: htmlOf(page.target),
      })),
    })),
    ...(repository && { socialLinks: [{ icon: 'github', link: repository }] }),
  },
});
