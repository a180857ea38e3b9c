/** Pays with one of the libraries for each message, as docs/client.md and docs/beyond-http.md show it. */
process.on('message', (/** @type {{ id: string, library: string, args: unknown[] }} */ { id, library, args }) => {
  void import(`./${library}.js`)
    .then(({ pay }) => pay(...args))
    .then(
      (value) => process.send?.({ id, value }),
      (/** @type {Error} */ { message }) => process.send?.({ id, error: message }),
    );
});
