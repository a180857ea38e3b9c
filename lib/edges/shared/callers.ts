import type { ApplicationConfig } from '@nestjs/core';
import type { ResolvedModuleOptions } from '../../options/resolved-options.js';
import { EndpointWarnings } from './endpoint-warnings.js';
import { CredentialBinding, ScopeDigest } from '../caller/caller-digests.js';
import { type CallerRequest, type Principal, principalOf } from '../caller/principal.js';

/** The callers of requests. Both edges share one object. */
export class Callers {
  readonly bindings: CredentialBinding;
  readonly scopes: ScopeDigest;
  private readonly warnings = new EndpointWarnings();

  constructor(
    private readonly module: ResolvedModuleOptions,
    private readonly application: ApplicationConfig,
  ) {
    this.bindings = new CredentialBinding(module.encryption);
    this.scopes = new ScopeDigest(module);
  }

  /**
   * Returns the caller of a request. Warns of one with neither principal nor credential that has cookies or passed guards: such callers
   * share their keys, although the application may distinguish them by a session.
   *
   * @throws Error if `request.user` does not identify a user, because all users would share their keys
   */
  of(request: CallerRequest, operation: { readonly endpoint: string; readonly hasGuards: boolean }): Principal {
    const { endpoint, hasGuards } = operation;
    const principal = principalOf(request, this.module.credentials, endpoint);
    const isAnonymous = principal.scope === '' && principal.credential === undefined;
    if (!isAnonymous || this.warnings.has(endpoint)) return principal;
    if (request.headers.cookie) {
      this.warnings.warn(
        endpoint,
        'a request with cookies has neither a principal (request.user) nor a credential: such callers share their keys. Name ' +
          'the cookie that identifies them in the option `credentials.cookies`; or set `scope`, to a constant if they are anonymous',
      );
    } else if (hasGuards || this.hasGlobalGuards) {
      this.warnings.warn(
        endpoint,
        'guards let a request in that has neither a principal (request.user) nor a credential: such callers share their keys. ' +
          'Name the header or cookie that identifies them in the option `credentials`; or set `scope`, to a constant if they ' +
          'are anonymous',
      );
    }
    return principal;
  }

  private get hasGlobalGuards(): boolean {
    return this.application.getGlobalGuards().length > 0 || this.application.getGlobalRequestGuards().length > 0;
  }
}
