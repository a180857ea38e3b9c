import { chmod, lstat, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DiskFiles } from '../../../../lib/cli/init/files.js';

describe('the files of a project are replaced', () => {
  let folder: string;
  const path = (name: string) => join(folder, name);
  const text = (name: string) => readFile(path(name), 'utf8');
  const change = (name: string) => ({ path: name, before: 'before', after: 'after' });

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'init-files-'));
    await writeFile(path('one.ts'), 'before');
    await writeFile(path('two.ts'), 'before');
  });
  afterEach(() => rm(folder, { recursive: true }));

  test('all of them, with their modes, and behind links', async () => {
    await chmod(path('one.ts'), 0o755);
    await symlink(path('two.ts'), path('link.ts'));
    new DiskFiles(folder).replace([change('one.ts'), change('link.ts')]);
    expect([await text('one.ts'), await text('two.ts')]).toEqual(['after', 'after']);
    expect((await stat(path('one.ts'))).mode & 0o777).toBe(0o755);
    expect((await lstat(path('link.ts'))).isSymbolicLink()).toBe(true);
    expect((await readdir(folder)).sort()).toEqual(['link.ts', 'one.ts', 'two.ts']);
  });

  test('none of them where one was edited meanwhile, or is gone', async () => {
    const files = new DiskFiles(folder);
    await writeFile(path('two.ts'), 'edited');
    expect(() => files.replace([change('one.ts'), change('two.ts')])).toThrow('two.ts has changed meanwhile');
    expect([await text('one.ts'), await text('two.ts')]).toEqual(['before', 'edited']);
    await rm(path('two.ts'));
    expect(() => files.replace([change('one.ts'), change('two.ts')])).toThrow('Nothing was changed');
    expect(await readdir(folder)).toEqual(['one.ts']);
    expect(await text('one.ts')).toBe('before');
  });

  test('none of them where one cannot be written', async () => {
    await writeFile(path(`two.ts.${process.pid}.tmp`), 'in the way');
    expect(() => new DiskFiles(folder).replace([change('one.ts'), change('two.ts')])).toThrow(
      /^two\.ts cannot be written: .*\. Nothing was changed$/,
    );
    expect([await text('one.ts'), await text('two.ts')]).toEqual(['before', 'before']);
  });

  test('none of them where one is not UTF-8', async () => {
    await writeFile(path('two.ts'), Buffer.from('caf\xe9', 'latin1'));
    const files = new DiskFiles(folder);
    const changes = [change('one.ts'), { path: 'two.ts', before: files.read('two.ts')!, after: 'after' }];
    expect(() => files.assertText(changes)).toThrow('two.ts is not UTF-8. Nothing was changed');
  });
});
