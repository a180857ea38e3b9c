/** @type {readonly import('../table.mjs').Section[]} */
export const REQUESTS = [
  {
    heading: 'The key follows the work',
    promises: [
      {
        promise: 'a time-out',
        broken: [
          {
            file: 'lib/edges/http/http-run.ts',
            find: '    if (this.capture.hasEnded) discardWrites(this.exchange.rawResponse, noteEnd);\n    const isSettled = await this.settled();\n',
            replace:
              '    if (this.capture.hasEnded) discardWrites(this.exchange.rawResponse, noteEnd);\n    const isSettled = true;\n',
          },
        ],
        shownBy: [{ spec: 'test/conformance/failures', test: 'it is followed to its end' }],
      },
      {
        promise: 'a late failure frees the key',
        broken: [
          {
            file: 'lib/edges/http/run-result.ts',
            find: "return state === 'succeeded' && !hasHandlerFailed(run, status) ? STORE_WITHOUT_RESPONSE : { kind: 'release' };",
            replace: 'return hasHandlerFailed(run, status) ? STORE_WITHOUT_RESPONSE : STORE_WITHOUT_RESPONSE;',
          },
        ],
        shownBy: [{ spec: 'test/conformance/failures', test: 'its late failure frees the key' }],
      },
      {
        promise: 'the call that began last decides',
        broken: [
          {
            file: 'lib/engine/handler-calls.ts',
            find: '    this.last = call;\n',
            replace: '    this.last ??= call;\n',
          },
        ],
        shownBy: [{ spec: 'test/conformance/retries-and-timeouts', test: 'the last call decides' }],
      },
      {
        promise: 'a native handler that fails after its response, in a transaction',
        broken: [
          {
            file: 'lib/edges/http/http-run.ts',
            find: "if (!calls.isRunning || (result.kind === 'store' && !transactional)) return this.end(result);",
            replace: 'if (transactional || !transactional) return this.end(result);',
          },
        ],
        shownBy: [
          { spec: 'test/conformance/retries-and-timeouts', test: 'a failure after its response takes that back' },
        ],
      },
      {
        promise: 'what the last call wrote commits alone',
        broken: [
          {
            file: 'lib/engine/handler-calls.ts',
            find: 'if (last && this.restartTransaction) return',
            replace: 'if (last && this.restartTransaction && this.closed) return',
          },
        ],
        shownBy: [{ spec: 'test/conformance/retries-and-timeouts', test: 'what the last call wrote commits, alone' }],
      },
      {
        promise: 'a step that still runs is waited for',
        broken: [
          {
            file: 'lib/engine/steps.ts',
            find: 'const result = results.get(name)?.catch(runAgain) ?? run();',
            replace: 'const result = run();',
          },
        ],
        shownBy: [
          { spec: 'test/e2e/protocol/handler-retries', test: 'waits for a step that the call before has left running' },
        ],
      },
      {
        promise: 'a handler that begins operations during a shutdown',
        broken: [
          {
            file: 'lib/engine/engine.ts',
            find: "return this.phase !== 'open' && !(this.phase === 'draining' && beginsInDrain) && !current()?.calls.isRunning;",
            replace: "return this.phase !== 'open';",
          },
        ],
        shownBy: [{ spec: 'test/conformance/unfinished-work', test: 'lets its handler begin operations within' }],
      },
      {
        promise: 'what an earlier call said does not count',
        broken: [
          {
            file: 'lib/engine/execution.ts',
            find: '    this.recording = this.recordingBefore;\n',
            replace: '',
          },
        ],
        shownBy: [{ spec: 'test/e2e/protocol/handler-retries', test: 'though the call before was not to be' }],
      },
      {
        promise: 'a call whose record is lost does not begin',
        broken: [
          {
            file: 'lib/engine/current-execution.ts',
            find: '    if (execution.isLost) throw new LeaseLostError();\n',
            replace: '',
          },
          {
            file: 'lib/engine/transactional-run.ts',
            find: 'if (!isEnded && !this.owner.execution.isLost) return',
            replace: 'if (!isEnded) return',
          },
        ],
        shownBy: [{ spec: 'test/e2e/protocol/handler-retries', test: 'does not begin where its record is gone' }],
      },
      {
        promise: 'a handler that calls its own method',
        broken: [
          {
            file: 'lib/handlers/watch-handler.ts',
            find: 'if (!execution?.isHandler(watched) || execution.isOwnWork) return',
            replace: 'if (!execution?.isHandler(watched)) return',
          },
        ],
        shownBy: [
          { spec: 'test/e2e/protocol/handler-retries', test: 'on better-sqlite3 is not called again by itself' },
        ],
      },
      {
        promise: 'an interceptor that tries again while a message handler runs',
        broken: [
          {
            file: 'lib/edges/values/value-edge.ts',
            find: 'return this.running.get(args)?.includesCaller === true;',
            replace: 'return this.running.has(args);',
          },
        ],
        shownBy: [{ spec: 'test/e2e/transports/microservice', test: 'does not run beside it' }],
      },
      {
        promise: 'work left running that calls the method of its handler',
        broken: [
          {
            file: 'lib/engine/current-execution.ts',
            find: 'return !this.isStream || (',
            replace: 'return (',
          },
        ],
        shownBy: [
          { spec: 'test/e2e/transports/microservice', test: 'nor does such a call undo what the handler has written' },
        ],
      },
      {
        promise: 'a client that hangs up',
        broken: [
          {
            file: 'lib/edges/http/http-run.ts',
            find: 'if (this.isOpen) void this.endUnanswered();',
            replace: "if (this.isOpen) this.end({ kind: 'release' });",
          },
        ],
        shownBy: [{ spec: 'test/conformance/connections', test: 'the outcome is there for its retry' }],
      },
      {
        promise: 'one that returns a web `Response`',
        broken: [
          {
            file: 'lib/edges/http/http-run.ts',
            find: 'if (this.isOpen && this.pass.unsent) await this.writeUnsent(this.pass.unsent);',
            replace: '',
          },
        ],
        shownBy: [{ spec: 'test/conformance/web-responses', test: 'a client that goes away gets it by its retry' }],
      },
      {
        promise: 'a generator whose client has gone',
        broken: [
          {
            file: 'lib/handlers/watch-handler.ts',
            find: 'runToEnd().catch(() => undefined);',
            replace: 'void generator.return(undefined);',
          },
        ],
        shownBy: [{ spec: 'test/conformance/generators', test: 'a client that goes away' }],
      },
      {
        promise: 'callbacks without a sign of life',
        broken: [
          {
            file: 'lib/edges/http/run-result.ts',
            find: "if (!isKnown) return { kind: 'unknown' };",
            replace: 'if (!isKnown) return STORE_WITHOUT_RESPONSE;',
          },
        ],
        shownBy: [{ spec: 'test/conformance/retries-and-timeouts', test: 'callbacks without a sign of life' }],
      },
      {
        promise: 'a handler that had not begun when its request was refused',
        broken: [
          {
            file: 'lib/engine/handler-calls.ts',
            find: '    if (this.closed) throw new TooLateError();\n    const { last } = this;\n',
            replace: '    const { last } = this;\n',
          },
        ],
        shownBy: [{ spec: 'test/conformance/failures', test: 'what was answered as never begun does not begin' }],
      },
      {
        promise: 'one that waited for its transaction',
        broken: [
          {
            file: 'lib/engine/leased-execution.ts',
            find: '  runAsPromise(runner: Runner): void {\n    this.runner = runner;\n',
            replace: '  runAsPromise(runner: Runner): void {\n',
          },
        ],
        shownBy: [{ spec: 'test/conformance/refused-while-waiting', test: 'while its transaction waits' }],
      },
      {
        promise: 'one that waited for a duplicate',
        broken: [
          {
            file: 'lib/edges/http/http-run.ts',
            find: 'if (rawResponse.writableEnded && rawResponse.statusCode >= 400) {',
            replace: 'if (rawResponse.writableEnded && rawResponse.statusCode >= 1000) {',
          },
        ],
        shownBy: [{ spec: 'test/conformance/refused-while-waiting', test: 'does not begin when the key is free' }],
      },
      {
        promise: 'a method that another decorator wraps',
        broken: [
          {
            file: 'lib/handlers/watch-handler.ts',
            find: 'if (watched !== method && descriptor.configurable)',
            replace: 'if (watched === method && descriptor.configurable)',
          },
        ],
        shownBy: [
          { spec: 'test/conformance/handler-wrappers', test: 'after a time-out, the key is taken while it runs' },
        ],
      },
      {
        promise: 'a handler that waits until its response is sent',
        broken: [
          {
            file: 'lib/edges/http/http-run.ts',
            find: 'await (isNative(this) ? Promise.race([calls.idle(), this.capture.awaited()]) : calls.idle());',
            replace: 'await calls.idle();',
          },
        ],
        shownBy: [{ spec: 'test/conformance/handler-wrappers', test: 'pipeline-tx: is answered, though it waits' }],
      },
    ],
  },
  {
    heading: 'What an outcome is',
    promises: [
      {
        promise: 'an outage frees the key, whatever was made of it',
        broken: [
          {
            file: 'lib/options/outcome-presets.ts',
            find: 'handlerFailed && status < 400 ? statusOfError(error) : status;',
            replace: 'handlerFailed && status > 999 ? statusOfError(error) : status;',
          },
        ],
        shownBy: [{ spec: 'test/conformance/retries-and-timeouts', test: 'an outage frees the key' }],
      },
      {
        promise: 'errors below 500 are replayed',
        broken: [
          {
            file: 'lib/options/outcome-presets.ts',
            find: 'status < 500 && !TRY_AGAIN.has(status)',
            replace: 'status < 400 && !TRY_AGAIN.has(status)',
          },
        ],
        shownBy: [{ spec: 'test/conformance/failures' }],
      },
      {
        promise: '408, 425 and 429 are not',
        broken: [
          {
            file: 'lib/options/outcome-presets.ts',
            find: 'status < 500 && !TRY_AGAIN.has(status)',
            replace: 'status < 500 || TRY_AGAIN.has(status)',
          },
        ],
        shownBy: [{ spec: 'test/conformance/failures' }],
      },
      {
        promise: 'a value that could not be sent',
        broken: [
          {
            file: 'lib/edges/shared/run-end.ts',
            find: "return isCarriedOut && result.status >= 400 ? STORE_WITHOUT_RESPONSE : { kind: 'release' };",
            replace: "return isCarriedOut && result.status >= 999 ? STORE_WITHOUT_RESPONSE : { kind: 'release' };",
          },
        ],
        shownBy: [{ spec: 'test/conformance/retries-and-timeouts', test: 'an answer that cannot be made' }],
      },
      {
        promise: 'a transaction that an interceptor cannot commit',
        broken: [
          {
            file: 'lib/edges/http/run-result.ts',
            find: 'if (calls.isUndone && (status === undefined || status >= 400)) return true;',
            replace: '',
          },
        ],
        shownBy: [{ spec: 'test/conformance/interceptor-transactions' }],
      },
      {
        promise: "`'success'`",
        broken: [
          {
            file: 'lib/options/outcome-presets.ts',
            find: "return status < 400 && !handlerFailed ? 'store' : 'release';",
            replace: "return status < 500 || !handlerFailed ? 'store' : 'release';",
          },
        ],
        shownBy: [{ spec: 'test/conformance/retries-and-timeouts', test: 'success: what the handler refuses' }],
      },
      {
        promise: 'a failure whose response is not kept',
        broken: [
          {
            file: 'lib/edges/shared/run-end.ts',
            find: 'const tombstone = handlerFailed ? FAILED_TOMBSTONE : TOMBSTONE;',
            replace: 'const tombstone = TOMBSTONE;',
          },
        ],
        shownBy: [{ spec: 'test/conformance/unkept-failures', test: 'secret-in-transaction: does not run again' }],
      },
      {
        promise: 'a retention of its own',
        broken: [
          {
            file: 'lib/edges/shared/run-end.ts',
            find: "execution.setRetention(retentionOf(verdict.retention, 'outcome'));",
            replace: "retentionOf(verdict.retention, 'outcome');",
          },
        ],
        shownBy: [
          {
            spec: 'test/conformance/retries-and-timeouts',
            test: 'on express with better-sqlite3 the option outcome a retention',
          },
        ],
      },
      {
        promise: 'refusals of the library leave as they are',
        broken: [
          {
            file: 'lib/edges/http/http-edge.ts',
            find: 'if (error instanceof IdempotencyProblem) keepProblem(exchange.rawResponse, error);',
            replace: 'if (error === keepProblem) keepProblem(exchange.rawResponse, error as never);',
          },
        ],
        shownBy: [
          {
            spec: 'test/conformance/retries-and-timeouts',
            test: 'on express with better-sqlite3 an error that is made a success forgiving-outside: our own',
          },
        ],
      },
    ],
  },
  {
    heading: 'Streamed uploads',
    promises: [
      {
        promise: 'bodies that differ anywhere',
        broken: [
          {
            file: 'lib/edges/http/streamed-body.ts',
            find: 'return this.digest.packed(whole && this.ended && !this.digest.exceeded).equals(recorded);',
            replace:
              'return this.digest.packed(whole && this.ended && !this.digest.exceeded).length === recorded.length;',
          },
        ],
        shownBy: [{ spec: 'test/conformance/streamed-requests', test: 'files that differ anywhere are two requests' }],
      },
      {
        promise: 'files that an interceptor has read',
        broken: [
          {
            file: 'lib/edges/http/fingerprint.ts',
            find: 'const whole = files ? `${text}\\nfiles ${canonicalJson(files)}` : text;',
            replace: 'const whole = files ? `${text}\\nfiles ${files.length}` : text;',
          },
        ],
        shownBy: [{ spec: 'test/conformance/multipart-files', test: 'files that differ anywhere' }],
      },
      {
        promise: 'a client that goes away in the middle',
        broken: [
          {
            file: 'lib/engine/recorder.ts',
            find: "const failedOnTruncatedInput = result.kind === 'store' && result.failed && input?.isTruncated;",
            replace: 'const failedOnTruncatedInput = false;',
          },
        ],
        shownBy: [{ spec: 'test/conformance/streamed-requests', test: 'a body that breaks off frees the key' }],
      },
      {
        promise: 'a duplicate is refused unread',
        broken: [
          {
            file: 'lib/edges/http/http-edge.ts',
            find: 'const admission = this.engine.admit(request.submitted);',
            replace: `const { submitted } = request;
    const admission = stream
      ? submitted.input!.matches(Buffer.alloc(32, 1)).then(() => this.engine.admit(submitted))
      : this.engine.admit(submitted);`,
          },
        ],
        shownBy: [
          {
            spec: 'test/conformance/streamed-requests',
            test: 'on express a duplicate of a request that is being read is refused',
          },
        ],
      },
      {
        promise: 'nothing of a body is kept in memory',
        broken: [
          {
            file: 'lib/edges/http/streamed-body.ts',
            find: '    this.received += chunk.length;\n',
            replace:
              '    this.received += chunk.length;\n    ((this as { kept?: Buffer[] }).kept ??= []).push(Buffer.from(chunk));\n',
          },
        ],
        shownBy: [{ spec: 'test/conformance/streamed-requests', test: 'of 64 MiB nothing is kept of it' }],
      },
      {
        promise: 'after a failure only the rest of the request binds',
        broken: [
          {
            file: 'lib/engine/recorder.ts',
            find: "    if (result.kind !== 'discard') return this.free('release');\n",
            replace: `    if (input && result.kind === 'release') {
      return input.fingerprint().then((read) => this.complete({ code: 503, head: null, body: null }, read));
    }
    if (result.kind !== 'discard') return this.free('release');\n`,
          },
        ],
        shownBy: [{ spec: 'test/conformance/streamed-requests', test: 'after a failure, the body of the retry' }],
      },
    ],
  },
];
