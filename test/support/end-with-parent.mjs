/** Loaded into jest and its workers: a worker whose jest was killed does not live on with what its tests opened. */
if (process.send) process.once('disconnect', () => process.exit(1));
