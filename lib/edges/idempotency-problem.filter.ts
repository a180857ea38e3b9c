import { type ArgumentsHost, Catch, type ExceptionFilter, Injectable } from '@nestjs/common';
import { ApplicationConfig, BaseExceptionFilter, HttpAdapterHost } from '@nestjs/core';
import { caughtBy } from '../private-names/nest.js';
import { IdempotencyProblem } from '../problems/problem.js';
import { noteFiltered } from './http/kept-problem.js';
import { setProblemHeaders } from './http/write-response.js';
import { valueTransportOf } from './value-transports.js';

/**
 * Sends problems as `application/problem+json` (RFC 9457), even if a global filter of the application formats all other errors.
 * Clients of message handlers get an object with the same members, and clients of GraphQL an error with these members as `extensions`.
 *
 * A global filter of the application that names a problem's class in `@Catch()` comes first.
 */
@Catch(IdempotencyProblem)
@Injectable()
export class IdempotencyProblemFilter implements ExceptionFilter<IdempotencyProblem> {
  constructor(
    private readonly adapterHost: HttpAdapterHost,
    private readonly config: ApplicationConfig,
  ) {}

  catch(problem: IdempotencyProblem, host: ArgumentsHost): unknown {
    noteFiltered(problem);
    const ofApplication = this.config.getGlobalFilters().find((filter) => names(filter, problem));
    // oxlint-disable-next-line promise/valid-params -- a filter, not a promise
    if (ofApplication) return ofApplication.catch(problem, host);

    const transport = valueTransportOf(host);
    if (transport) return transport.sendProblem(problem, host);
    const adapter = this.adapterHost.httpAdapter;
    const response = host.switchToHttp().getResponse<{ removeHeader(name: string): unknown }>();
    if (adapter.isHeadersSent(response)) return new BaseExceptionFilter(adapter).catch(problem, host);
    setProblemHeaders(problem, {
      setHeader: (name, value) => void adapter.setHeader(response, name, value),
      removeHeader: (name) => response.removeHeader(name),
    });
    // Text, because Nest 11 would set the type of an object to application/json.
    return adapter.reply(response, JSON.stringify(problem.getResponse()), problem.getStatus());
  }
}

function names(filter: ExceptionFilter, problem: IdempotencyProblem): boolean {
  if (filter instanceof IdempotencyProblemFilter) return false;
  return caughtBy(filter).some(
    (one) =>
      typeof one === 'function' &&
      (one === IdempotencyProblem || one.prototype instanceof IdempotencyProblem) &&
      problem instanceof one,
  );
}
