import type { ServerResponse } from 'node:http';

/**
 * What the library uses of node that node does not document. `test/e2e/module/private-names.e2e-spec.ts` fails when it changes.
 */
interface PrivateResponse {
  /** Writes the head with the status that is set. express-session writes a response's head by it, once it has saved a session. */
  _implicitHeader?: () => void;
}

/** Has `write` write the head where middleware asks a response to do so by itself. */
export function replaceImplicitHeader(response: ServerResponse, write: () => void): void {
  (response as PrivateResponse)._implicitHeader = write;
}
