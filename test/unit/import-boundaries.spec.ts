import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import ts from 'typescript';
import { root } from '../../scripts/workspace.mjs';

const lib = join(root, 'lib');

/** What a file imports: paths from lib, and names of packages. Types count. */
function importsOf(file: string): string[] {
  const { importedFiles } = ts.preProcessFile(readFileSync(join(lib, file), 'utf8'));
  return importedFiles.map(({ fileName }) =>
    fileName.startsWith('.') ? normalize(join(dirname(file), fileName)).replace(/\.js$/, '.ts') : fileName,
  );
}

const files = readdirSync(lib, { recursive: true, encoding: 'utf8' }).filter(
  (file) => file.endsWith('.ts') && !file.startsWith('dashboard/page/'),
);
const graph = new Map(files.map((file) => [file, importsOf(file)]));

/** The table of CONTRIBUTING.md: a room, and what it may know. */
const table = /## What each room may know\n[\s\S]*?\n\n(\|[\s\S]*?\n)\n/.exec(
  readFileSync(join(root, 'CONTRIBUTING.md'), 'utf8'),
)![1];
const rooms = new Map(
  [...table.matchAll(/^\| `([^`]+)` \|.*\|([^|]*)\|$/gm)].map(([, room, known]) => [
    room,
    [...known.matchAll(/`([^`]+)`/g)].map(([, one]) => one),
  ]),
);

/** The room that a file lies in: of several, the innermost. */
function roomOf(file: string): string | undefined {
  const holding = [...rooms.keys()].filter((room) => file === room || file.startsWith(room));
  return holding.sort((one, other) => other.length - one.length)[0];
}

test('every file of lib lies in a room', () => {
  expect(rooms.size).toBeGreaterThan(10);
  expect(files.filter((file) => roomOf(file) === undefined)).toEqual([]);
  expect([...rooms.keys()].filter((room) => !files.some((file) => roomOf(file) === room))).toEqual([]);
});

test('no room imports what it may not know', () => {
  const against = files.flatMap((file) => {
    const room = roomOf(file)!;
    const known = rooms.get(room)!;
    return graph
      .get(file)!
      .filter((imported) => graph.has(imported))
      .filter((imported) => roomOf(imported) !== room && !known.includes(roomOf(imported)!))
      .map((imported) => `${file} imports ${imported}`);
  });
  expect(against).toEqual([]);
});

test('a room knows no more than it uses', () => {
  const unused = [...rooms].flatMap(([room, known]) => {
    const used = new Set(files.filter((file) => roomOf(file) === room).flatMap((file) => graph.get(file)!.map(roomOf)));
    return known.filter((one) => !used.has(one)).map((one) => `${room} does not use ${one}`);
  });
  expect(unused).toEqual([]);
});

test('the engine needs no package, and the client nothing at all', () => {
  const packages = (room: string) =>
    files.filter((file) => file.startsWith(room)).flatMap((file) => graph.get(file)!.filter((one) => !graph.has(one)));
  expect(packages('engine/').filter((name) => !name.startsWith('node:'))).toEqual([]);
  expect(packages('client/')).toEqual([]);
});

test('no files import each other in a circle', () => {
  const cycles: string[] = [];
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) return void cycles.push([...path.slice(path.indexOf(file)), file].join(' > '));
    if (done.has(file)) return;
    for (const imported of graph.get(file) ?? []) visit(imported, [...path, file]);
    done.add(file);
  };
  for (const file of files) visit(file, []);
  expect(cycles).toEqual([]);
});
