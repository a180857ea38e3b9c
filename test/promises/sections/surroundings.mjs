/** @type {readonly import('../table.mjs').Section[]} */
export const SURROUNDINGS = [
  {
    heading: 'Safe without Redis',
    promises: [
      {
        promise: 'flushed: one winner, though two have the lock',
        broken: [
          {
            file: 'lib/engine/engine.ts',
            find: "record.owner === claim.owner && record.status === 'processing'",
            replace: "(record.owner === claim.owner || lock) && record.status === 'processing'",
          },
        ],
        shownBy: [{ spec: 'test/e2e/protocol/redis-outage', test: 'flushed while an operation runs' }],
      },
      {
        promise: 'a lock that a dead process left behind',
        broken: [
          {
            file: 'lib/engine/engine.ts',
            find: 'return record && !isFree(record) ? record : this.send(flight);',
            replace: 'if (record) return record;\n    throw new StoreUnavailableError();',
          },
        ],
        shownBy: [{ spec: 'test/e2e/engine/admission', test: 'left behind: the operation runs' }],
      },
      {
        promise: 'the majority lost',
        broken: [
          {
            file: 'lib/engine/engine.ts',
            find: "else if (this.parts.onLockUnavailable === 'reject') throw",
            replace: 'else if (attempt.reason) throw',
          },
        ],
        shownBy: [{ spec: 'test/e2e/protocol/redis-outage' }],
      },
      {
        promise: "`onLockUnavailable: 'reject'`",
        broken: [
          {
            file: 'lib/engine/engine.ts',
            find: "else if (this.parts.onLockUnavailable === 'reject') throw",
            replace: 'else if (!attempt.reason) throw',
          },
        ],
        shownBy: [{ spec: 'test/e2e/protocol/redis-outage' }],
      },
    ],
  },
  {
    heading: 'Fail closed',
    promises: [
      {
        promise: 'refused and black-holed',
        broken: [
          {
            file: 'lib/engine/engine.ts',
            find: '      this.endClaim(flight, { error });\n      this.discardLate(flight);\n      this.reportFailedClaim(flight.operation, error);\n      throw error;\n',
            replace: `      const { recordId, owner, fingerprint, binding, leaseMs } = flight.claim;
      claimed = this.concludeClaim(flight, { recordId, owner, fingerprint, binding, status: 'processing', token: 1, attempt: 1, takenFrom: null, attemptsLeft: 1, leaseLeftMs: leaseMs, outcome: null });\n`,
          },
        ],
        shownBy: [
          {
            spec: 'test/e2e/protocol/lost-database-responses',
            test: 'lost answers on postgres the database is refused: 503',
          },
        ],
      },
      {
        promise: 'within a bounded time',
        broken: [
          {
            file: 'lib/engine/engine.ts',
            find: 'const ASK_AGAIN_FOR_MS = 1_000;',
            replace: 'const ASK_AGAIN_FOR_MS = 8_000;',
          },
        ],
        shownBy: [
          {
            spec: 'test/e2e/protocol/lost-database-responses',
            test: 'lost answers on postgres the database is refused: 503',
          },
        ],
      },
      {
        promise: 'pool exhausted',
        broken: [
          {
            file: 'lib/store/transactions/own-transactions.ts',
            find: 'const begun = await this.timeLimit.wait((statement = beginning));',
            replace: 'const begun = await (statement = beginning);',
          },
        ],
        shownBy: [
          { spec: 'test/e2e/protocol/transactional', test: 'transactions on postgres an exhausted pool answers 503' },
        ],
      },
      {
        promise: 'a claim that arrives late is given back',
        broken: [
          {
            file: 'lib/engine/engine.ts',
            find: 'if (error !== undefined && late?.owner === claim.owner)',
            replace: 'if (error === undefined && late?.owner === claim.owner)',
          },
        ],
        shownBy: [
          {
            spec: 'test/e2e/protocol/lost-database-responses',
            test: 'lost answers on postgres a claim that arrives after',
          },
        ],
      },
    ],
  },
  {
    heading: 'No leaks',
    promises: [
      {
        promise: 'the same key of two users',
        broken: [
          {
            file: 'lib/edges/http/http-edge.ts',
            find: 'digestIdentity({ namespace, host, scope: principal.scope, endpoint, key })',
            replace: "digestIdentity({ namespace, host, scope: '', endpoint, key })",
          },
        ],
        shownBy: [{ spec: 'test/conformance/principals' }, { spec: 'test/conformance/caller-identity' }],
      },
      {
        promise: 'another credential',
        broken: [
          {
            file: 'lib/edges/caller/caller-digests.ts',
            find: 'if (credential === undefined) return { binding: null };',
            replace: 'if (credential !== identity.recordId) return { binding: null };',
          },
        ],
        shownBy: [{ spec: 'test/conformance/principals' }, { spec: 'test/conformance/caller-identity' }],
      },
      {
        promise: 'a rotation of encryption keys',
        broken: [
          {
            file: 'lib/edges/caller/caller-digests.ts',
            find: 'former.some((key) => bindCredential(identity, credential, key).equals(other))',
            replace:
              'former.some((key) => bindCredential(identity, credential, key).equals(other)) || other.length > 0',
          },
        ],
        shownBy: [{ spec: 'test/conformance/caller-isolation' }],
      },
      {
        promise: 'two hosts',
        broken: [
          {
            file: 'lib/edges/http/http-edge.ts',
            find: "const host = operation.hasHosts ? (exchange.request.hostname ?? '') : undefined;",
            replace: 'const host = undefined;',
          },
        ],
        shownBy: [{ spec: 'test/conformance/caller-identity', test: 'hosts' }],
      },
      {
        promise: 'identities that look alike',
        broken: [
          {
            file: 'lib/engine/identity.ts',
            find: 'return `${Buffer.byteLength(text)}:${text}`;',
            replace: 'return text;',
          },
        ],
        shownBy: [{ spec: 'test/unit/engine/identity' }],
      },
      {
        promise: 'a user without an id',
        broken: [
          {
            file: 'lib/edges/caller/principal.ts',
            find: '    throw cannotTell(endpoint, `request.user ${whatIsThere(user)}`);',
            replace: "    return { scope: whatIsThere(user) && '' };",
          },
        ],
        shownBy: [{ spec: 'test/conformance/principals' }],
      },
    ],
  },
  {
    heading: 'Waiting',
    promises: [
      {
        promise: '500 waiters over three processes take fewer than 40 statements',
        broken: [
          {
            file: 'lib/engine/engine.ts',
            find: 'own || waitLimitMsOf(operation) === 0 ? undefined : watcher?.currentRecord;',
            replace: 'undefined as RecordState | undefined;',
          },
        ],
        shownBy: [
          { spec: 'test/e2e/protocol/waiting-duplicates', test: 'waiting on postgres with NOTIFY 500 waiters' },
        ],
      },
      {
        promise: 'one request asks for all that wait in a process',
        broken: [
          {
            file: 'lib/engine/engine.ts',
            find: `const flight = this.inFlight.get(recordId);
      if (!flight) {`,
            replace: `const other = this.inFlight.get(recordId);
      const flight = other?.phase === 'claiming' ? undefined : other;
      if (!flight) {`,
          },
        ],
        shownBy: [{ spec: 'test/e2e/engine/in-process-waiters', test: 'one of them asks' }],
      },
      {
        promise: 'those in the same process join',
        broken: [
          {
            file: 'lib/engine/engine.ts',
            find: `const flight = this.inFlight.get(recordId);
      if (!flight) {`,
            replace: `const flight = undefined as InFlight | undefined;
      if (!flight) {`,
          },
          {
            file: 'lib/engine/engine.ts',
            find: '    this.inFlight.set(recordId, flight);\n',
            replace: '    if (!this.inFlight.has(recordId)) this.inFlight.set(recordId, flight);\n',
          },
        ],
        shownBy: [{ spec: 'test/e2e/engine/admission', test: 'a duplicate of what runs' }],
      },
      {
        promise: 'an end is announced',
        broken: [
          {
            file: 'lib/engine/engine.ts',
            find: 'if (awaited) void this.parts.wakeUp?.announce(leased.operation.recordId);',
            replace: 'void awaited;',
          },
        ],
        shownBy: [{ spec: 'test/e2e/engine/admission', test: 'is woken at once where it is announced' }],
      },
      {
        promise: 'a waiter whose owner dies takes over',
        broken: [
          {
            file: 'lib/engine/engine.ts',
            find: 'const claimed = await this.claim(operation, (result) => result);',
            replace: `const known = own ? await this.store.read(recordId) : undefined;
        const claimed = known ?? (await this.claim<Claimed>(operation, (result) => result));`,
          },
        ],
        shownBy: [
          { spec: 'test/e2e/protocol/waiting-duplicates', test: 'on postgres with NOTIFY a waiter whose owner died' },
        ],
      },
    ],
  },
  {
    heading: 'Time',
    promises: [
      {
        promise: 'retention is counted from completion',
        broken: [
          {
            file: 'lib/store/dialects/postgres.ts',
            find: "completed_at = ${NOW}, expires_at = ${expiry('i.retention')}, fingerprint",
            replace: 'completed_at = ${NOW}, fingerprint',
          },
        ],
        shownBy: [{ spec: 'test/e2e/store/ownership', test: 'retention from completion' }],
      },
      {
        promise: 'an expired outcome is not replayed, whether swept or not',
        broken: [
          {
            file: 'lib/store/dialects/predicates.ts',
            find: "WHEN ${r}expires_at <= ${now} AND ${r}status IN ('done', 'failed') THEN 'restart'",
            replace: "WHEN ${r}expires_at <= ${now} AND ${r}status = 'failed' THEN 'restart'",
          },
        ],
        shownBy: [{ spec: 'test/e2e/store/claims', test: 'when the outcome has expired' }],
      },
      {
        promise: 'an abandoned record is kept for a whole retention',
        broken: [
          {
            file: 'lib/store/dialects/predicates.ts',
            find: 'AND NOT ${r}hold_on_crash AND ${abandoned}',
            replace: 'AND NOT ${r}hold_on_crash AND (${abandoned} OR 1 = 1)',
          },
        ],
        shownBy: [{ spec: 'test/e2e/store/operator-actions', test: 'what has expired' }],
      },
      {
        promise: 'a live lease, however old the record',
        broken: [
          {
            file: 'lib/store/dialects/predicates.ts',
            find: "WHEN ${r}status = 'processing' AND ${leaseExpired}",
            replace: "WHEN ${r}status = 'processing' AND (${leaseExpired} OR ${r}expires_at <= ${now})",
          },
        ],
        shownBy: [{ spec: 'test/e2e/store/claims', test: 'leaves a live lease alone' }],
      },
    ],
  },
];
