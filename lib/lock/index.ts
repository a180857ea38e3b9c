export { assertRedisNodes, type RedisLike } from './redis-client.js';
export { RedisWakeUp, type RedisWakeUpSettings } from './redis-wake-up.js';
export { type LockProbe, RedlockRecordLock } from './redlock-record-lock.js';
export { REDLOCK_DEFAULTS, type RedlockSettings } from './redlock-settings.js';
