import { FieldProcess } from './field-process.js';

/** The comparison itself: it has to find what is wrong with the applications of `faulty-apps/`. */
const field = await FieldProcess.start('faulty-apps');
afterAll(() => field.stop());

/** The differences, without the values that are new in each run. */
const differences = async (name: string) => {
  const lines = (await field.run(name, 'express')).map((line) =>
    line.replace(/(headers|body|notes) .* instead of .*/, '$1'),
  );
  return [...new Set(lines)];
};

test('a replay that is not the first answer is found, and executions that differ from the bare one', async () => {
  expect(await differences('answers')).toEqual([
    'create, first: headers',
    'create, first: body',
    'create, replayed: notes',
    'create, duplicates: headers',
    'create, duplicates: body',
  ]);
});

test('a second execution is found, by its answer, its effect, its notes and its log', async () => {
  expect(await differences('unprotected')).toEqual([
    'create, replayed: notes',
    'create, replayed: headers',
    'create, replayed: body',
    'create, replayed: idempotent-replayed undefined instead of "true"',
    'create, replayed: number of effects 2 instead of 1',
    expect.stringMatching(/^create, check: paid twice/),
    'create, duplicates: headers',
    'create, duplicates: body',
    'create, duplicates: statuses [201,201,201] instead of [409,409,409]',
    'create, duplicates: number of effects 4 instead of 1',
    'logged: WARN again',
  ]);
});

test('a declaration that is not true of the bare application is found', async () => {
  expect(await differences('declaration')).toEqual([
    'create, bare: status 201 instead of 200',
    'create, bare: number of effects 1 instead of 2',
    'create, first: number of effects 1 instead of 2',
    'create, replayed: number of effects 1 instead of 2',
  ]);
});
