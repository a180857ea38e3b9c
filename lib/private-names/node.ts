import type { ServerResponse } from 'node:http';

/**
 * Undocumented names of Node that the library uses. `test/e2e/module/private-names.e2e-spec.ts` fails when it changes.
 */
interface PrivateResponse {
  /** Writes the head with the current status. express-session calls it once it has saved a session. */
  _implicitHeader?: () => void;
}

/** Makes middleware that calls `_implicitHeader()` call `write` instead. */
export function replaceImplicitHeader(response: ServerResponse, write: () => void): void {
  (response as PrivateResponse)._implicitHeader = write;
}
