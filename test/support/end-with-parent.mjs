/** Loaded into jest and its workers: a worker whose jest was killed does not live on with what its tests opened. */
const end = () => process.exit(1);

if (process.send) {
  process.once('disconnect', end);
  // A listener of 'disconnect' keeps a process alive. Jest takes its own listener off a worker that is to end, and kills it where
  // that does not help: then no spec file can be seen to have left something open.
  if (process.argv[1]?.includes('jest-worker')) {
    process.on('removeListener', (event) => {
      if (event === 'message' && process.listenerCount('message') === 0) process.off('disconnect', end);
    });
  }
}
