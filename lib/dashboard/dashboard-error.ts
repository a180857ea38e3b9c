import type { ApiError, ApiErrorCode } from './contract.js';

const STATUS: Record<ApiErrorCode, number> = {
  'bad-request': 400,
  'bad-cursor': 400,
  'cross-site': 403,
  'actions-off': 403,
  'not-found': 404,
  'not-held': 409,
  changed: 409,
  running: 409,
  'not-json': 415,
  'too-many-clients': 503,
  'store-unavailable': 503,
  failed: 500,
};

/** A request of the page that is refused, or that failed. */
export class DashboardError extends Error {
  override readonly name = 'DashboardError';

  constructor(
    readonly code: ApiErrorCode,
    message: string,
  ) {
    super(message);
  }

  get status(): number {
    return STATUS[this.code];
  }

  toJSON(): ApiError {
    return { error: { code: this.code, message: this.message } };
  }
}

/** Returns the error for a parameter or a member that cannot be used. @param message names it */
export const invalid = (message: string) => new DashboardError('bad-request', message);
