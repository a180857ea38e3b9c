import type { ApplicationConfig } from '@nestjs/core';
import { EndpointWarnings } from '../shared/endpoint-warnings.js';
import type { CallerRequest, Principal } from './principal.js';

/**
 * Warns, once for each endpoint, of a request with neither principal nor credential that has cookies or passed guards. Its callers
 * share their keys, although the application may distinguish them by a session.
 */
export class AnonymousCallers {
  private readonly warnings = new EndpointWarnings();

  constructor(private readonly application: ApplicationConfig) {}

  note(
    { scope, credential }: Principal,
    { headers }: CallerRequest,
    operation: { readonly endpoint: string; readonly hasGuards: boolean },
  ): void {
    const { endpoint } = operation;
    if (scope !== '' || credential !== undefined || this.warnings.has(endpoint)) return;
    if (headers.cookie) {
      this.warnings.warn(
        endpoint,
        'a request with cookies has neither a principal (request.user) nor a credential: such callers share their keys. Name ' +
          'the cookie that identifies them in the option `credentials.cookies`; or set `scope`, to a constant if they are anonymous',
      );
    } else if (operation.hasGuards || this.hasGlobalGuards) {
      this.warnings.warn(
        endpoint,
        'guards let a request in that has neither a principal (request.user) nor a credential: such callers share their keys. ' +
          'Name the header or cookie that identifies them in the option `credentials`; or set `scope`, to a constant if they ' +
          'are anonymous',
      );
    }
  }

  private get hasGlobalGuards(): boolean {
    return this.application.getGlobalGuards().length > 0 || this.application.getGlobalRequestGuards().length > 0;
  }
}
