import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkLlmsText } from '../../../scripts/docs/llms.mjs';
import { packedReadme } from '../../../scripts/docs/packed-readme.mjs';
import { rewriteLinks } from '../../../scripts/docs/rewrite-links.mjs';
import { checkSite } from '../../../scripts/docs/site-check.mjs';
import { siteMap } from '../../../scripts/docs/site-map.mjs';
import { root } from '../../../scripts/workspace.mjs';

test('every page of docs/ has its place in the site, once', () => {
  const pages = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md') && !name.startsWith('api/'))
    .map((name) => `docs/${name}`);
  const inSite = siteMap().flatMap((group) => group.pages.map(({ source }) => source));
  expect(inSite.filter((source) => source.startsWith('docs/')).sort()).toEqual(pages.sort());
  expect(inSite).toEqual(expect.arrayContaining(['README.md', 'CHANGELOG.md', 'sample/checkout/README.md']));
});

test('llms.txt lists the pages as they are', () => {
  expect(checkLlmsText()).toEqual([]);
});

test('links are rewritten in prose, and nothing in code', () => {
  const text = [
    '[a `page`](a.md), [of two',
    'lines](b.md#c), `[code](a.md)`, [web](https://example.com/a.md), [here](#here)',
    '![a picture](x.png) <img alt="y" src="x.png">',
    '[gone](gone) and ![gone](gone)',
    '',
    '```md',
    '[code](a.md)',
    '```',
    '',
    '| [in a table](a.md) |',
  ].join('\n');
  expect(rewriteLinks(text, (target) => (target === 'gone' ? undefined : `to/${target}`))).toBe(
    [
      '[a `page`](to/a.md), [of two',
      'lines](to/b.md#c), `[code](a.md)`, [web](https://example.com/a.md), [here](#here)',
      '![a picture](to/x.png) <img alt="y" src="to/x.png">',
      'gone and ',
      '',
      '```md',
      '[code](a.md)',
      '```',
      '',
      '| [in a table](to/a.md) |',
    ].join('\n'),
  );
});

test('the check of the built site finds dead links, headings and twins', () => {
  const folder = mkdtempSync(join(tmpdir(), 'idempotency-site-'));
  try {
    mkdirSync(join(folder, 'b'));
    const links = [
      '/at/b/',
      '/at/a.html#here',
      '#here',
      'b/x.html',
      '#there',
      '/elsewhere.html',
      'https://example.com',
    ];
    writeFileSync(
      join(folder, 'a.html'),
      `<h2 id="here">Here</h2>${links.map((link) => `<a class="x" href="${link}">x</a>`).join('')}`,
    );
    writeFileSync(join(folder, 'a.md'), '[b](./b/index.md) [x](b/x.md)');
    writeFileSync(join(folder, 'b', 'index.html'), '<img src="/at/none.png">');
    expect(checkSite(folder, '/at/').sort()).toEqual([
      'a.html: #there',
      'a.html: /elsewhere.html',
      'a.html: b/x.html',
      'a.md: ./b/index.md',
      'a.md: b/x.md',
      'b/index.html: /at/none.png',
      'b/index.html: there is no b/index.md',
    ]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

describe('the README as npm shows it', () => {
  const readme = [
    '[guide](docs/guide.md#install), [decisions](docs/decisions), [change](./CHANGELOG.md), [contribute](CONTRIBUTING.md), [web](https://x.example)',
    '',
    '<picture>',
    '  <source srcset="docs/images/checkout-dark.png">',
    '  <img alt="x" src="docs/images/checkout-light.png">',
    '</picture>',
    '',
    'end',
  ].join('\n');
  const manifest = { name: 'a-package', version: '1.2.3', description: '' };

  test('leads to what is published, as long as the repository is not known', () => {
    const lines = [
      '[guide](https://unpkg.com/a-package@1.2.3/docs/guide.md#install), decisions, ' +
        '[change](https://unpkg.com/a-package@1.2.3/CHANGELOG.md), contribute, [web](https://x.example)',
      '',
      'end',
    ];
    expect(packedReadme(readme, manifest)).toBe(lines.join('\n'));
  });

  test('leads to the tag of the version in the repository', () => {
    const repository = { url: 'git+https://github.com/o/r.git' };
    const lines = [
      '[guide](https://github.com/o/r/blob/v1.2.3/docs/guide.md#install), [decisions](https://github.com/o/r/tree/v1.2.3/docs/decisions), ' +
        '[change](https://github.com/o/r/blob/v1.2.3/CHANGELOG.md), [contribute](https://github.com/o/r/blob/v1.2.3/CONTRIBUTING.md), [web](https://x.example)',
      '',
      '<picture>',
      '  <source srcset="https://github.com/o/r/raw/v1.2.3/docs/images/checkout-dark.png">',
      '  <img alt="x" src="https://github.com/o/r/raw/v1.2.3/docs/images/checkout-light.png">',
      '</picture>',
      '',
      'end',
    ];
    expect(packedReadme(readme, { ...manifest, repository })).toBe(lines.join('\n'));
  });
});
