import { checkLinks } from '../../../scripts/docs/links.mjs';

test('the links of all pages lead somewhere', () => {
  expect(checkLinks()).toEqual([]);
});

test('the check finds what is wrong, and says where', () => {
  const text = [
    '# A page, `with` code', // line 1
    '',
    '[this](#a-page-with-code), [that](#a-page) and [the second](#twice-1)',
    '',
    '## Twice',
    '## Twice',
    '',
    '| [a file](../README.md) | [none](none.md) |', // line 8
    '|---|---|',
    '| ![a picture](images/none.png) | [a folder](decisions) |',
    '| [elsewhere](https://example.com/none.md#x) | [out](../../none.md) |',
    '',
    '[its heading](reference.md#options) and [none of its](reference.md#no-options)', // line 13
    '',
    '<a id="here"></a> [here](#here)',
    '',
    '<picture>', // line 17
    '  <source media="(prefers-color-scheme: dark)" srcset="images/dark.png">',
    '</picture>',
    '',
    '```md',
    '[not a link](none.md)',
    '```',
    '',
    '[code](../package.json#scripts) `[not a link](none.md)`', // line 25
  ].join('\n');
  expect(checkLinks([{ path: 'docs/made-up.md', text }])).toEqual([
    'docs/made-up.md:3: #a-page: there is no such heading',
    'docs/made-up.md:8: none.md does not exist',
    'docs/made-up.md:10: images/none.png does not exist',
    'docs/made-up.md:11: ../../none.md leaves the repository',
    'docs/made-up.md:13: reference.md#no-options: there is no such heading',
    'docs/made-up.md:17: images/dark.png does not exist',
    'docs/made-up.md:25: ../package.json#scripts is no page with headings',
  ]);
});
