import { DataSource } from 'typeorm';

type Listener = (dataSource: DataSource) => void;

const listeners = new Set<Listener>();
let isWatching = false;

/**
 * Calls `listener` for each data source that is initialized from now on, and returns what ends that. Applications open some for a tenant, at
 * its first request, and keep them to themselves: no provider leads to them. TypeORM has no event for it.
 */
export function onOpened(listener: Listener): () => void {
  if (!isWatching) watch();
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

function watch(): void {
  isWatching = true;
  const { prototype } = DataSource;
  const initialize = Object.getOwnPropertyDescriptor(prototype, 'initialize')!.value as DataSource['initialize'];
  prototype.initialize = async function (this: DataSource) {
    const opened = await initialize.call(this);
    for (const listener of listeners) listener(this);
    return opened;
  };
}
