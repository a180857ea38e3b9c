import { FieldProcess } from './field-process.js';

const field = await FieldProcess.start('apps');
afterAll(() => field.stop());

describe.each(field.applications)('$name', ({ name, adapters }) => {
  test.each(adapters)('on %s: bare, first and replayed', async (adapter) => {
    expect(await field.run(name, adapter)).toEqual([]);
  });
});
