/** An undocumented name of `@fastify/multipart`. `test/e2e/module/private-names.e2e-spec.ts` fails when it changes. */
export interface MultipartFileInternals {
  /** The content of a file, kept by `attachFieldsToBody`. Without it, only the file's stream has the content. */
  readonly _buf?: unknown;
}
