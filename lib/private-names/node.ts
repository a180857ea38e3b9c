import type { ServerResponse } from 'node:http';

/**
 * Makes middleware that calls `_implicitHeader()` call `write` instead. That undocumented method of Node writes the head with the current
 * status: express-session calls it once it has saved a session. `test/e2e/module/private-names.e2e-spec.ts` fails when its name changes.
 */
export function replaceImplicitHeader(response: ServerResponse, write: () => void): void {
  (response as { _implicitHeader?: () => void })._implicitHeader = write;
}
