/** What the examples of docs/client.md take for granted. */
import type { KeyStorage } from 'nestjs-idempotency/client';

/** As browsers have it. */
export declare const sessionStorage: KeyStorage;

/** An access token; a new one where `renew` says so. */
export declare function accessToken(renew: boolean): Promise<string>;
