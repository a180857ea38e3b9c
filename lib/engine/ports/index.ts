export type * from './record-lock.js';
export type * from './record-store.js';
export type * from './streamed-input.js';
export type * from './wake-up.js';
