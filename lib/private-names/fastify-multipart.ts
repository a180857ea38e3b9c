/** What the library reads of `@fastify/multipart`. `test/e2e/module/private-names.e2e-spec.ts` fails when it changes. */
export interface MultipartFileInternals {
  /** The content of a file that `attachFieldsToBody` has kept. Without it, the file's stream is all there is, and may be read. */
  readonly _buf?: unknown;
}
