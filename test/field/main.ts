/** The process in which the applications run: in node itself, as jest cannot load what packages for Nest 11 `require()`. */
import 'reflect-metadata';
import { readdir } from 'node:fs/promises';
import type { Adapter, Application } from './harness.js';
import { differencesOf } from './runner.js';

export interface Task {
  readonly id: number;
  readonly name: string;
  readonly adapter: Adapter;
  /** Of servers that run by now. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface Listed {
  readonly name: string;
  readonly adapters: readonly Adapter[];
}

const folder = new URL(`./${process.env.FIELD_FOLDER}/`, import.meta.url);
const applications = new Map<string, Application>();
for (const file of (await readdir(folder)).filter((name) => name.endsWith('.js')).sort()) {
  const { default: declared } = (await import(new URL(file, folder).href)) as { default: Application | Application[] };
  for (const application of [declared].flat()) {
    if (applications.has(application.name)) throw new Error(`two applications are named ${application.name}`);
    applications.set(application.name, application);
  }
}

process.on('message', ({ id, name, adapter, env }: Task) => {
  Object.assign(process.env, env);
  differencesOf(applications.get(name)!, adapter).then(
    (differences) => process.send!({ id, differences }),
    (error: unknown) => process.send!({ id, differences: [error instanceof Error ? error.stack : String(error)] }),
  );
});
process.once('disconnect', () => process.exit());
process.send!({
  applications: [...applications.values()].map(({ name, adapters = ['express', 'fastify'] }): Listed => ({
    name,
    adapters,
  })),
});
