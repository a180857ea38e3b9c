/** What the examples of docs/client.md take for granted. */
import type { KeyStorage } from 'nestjs-idempotency/client';

/** As browsers have it. */
export declare const sessionStorage: KeyStorage;
