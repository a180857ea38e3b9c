import { randomUUID } from 'node:crypto';
import * as nest from '@nestjs/common';
import {
  type ArgumentsHost,
  Body,
  type CallHandler,
  Catch,
  Controller,
  type ExceptionFilter,
  type ExecutionContext,
  HttpException,
  Injectable,
  type NestInterceptor,
  Param,
  ParseIntPipe,
  type PipeTransform,
  Post,
  RequestTimeoutException,
  type Type,
  UseFilters,
  UseInterceptors,
  ValidationPipe,
} from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { IsInt } from 'class-validator';
import { catchError, map, mergeMap, of, raceWith, tap, throwError, timeout, TimeoutError } from 'rxjs';
import { Idempotent, IdempotentExecution, type Execution } from '../../../lib/index.js';
import { ran } from './cases.js';
import { begins, givingUp, late, soonAfter } from './late.js';

/** Every exception that Nest has a class for, and its status. */
export const EXCEPTIONS: readonly [name: string, status: number][] = Object.entries(nest)
  .filter(([name, value]) => name.endsWith('Exception') && (value as Type)?.prototype instanceof HttpException)
  .filter(([name]) => name !== 'IntrinsicException')
  .map(([name, value]) => [name, new (value as Type<HttpException>)('text').getStatus()]);

class OutOfStock extends Error {}
class Overloaded extends Error {}

@Catch(OutOfStock, Overloaded)
export class ShopFilter implements ExceptionFilter {
  constructor(private readonly host: HttpAdapterHost) {}
  catch(error: unknown, host: ArgumentsHost): void {
    const response = host.switchToHttp().getResponse<unknown>();
    const status = error instanceof OutOfStock ? 409 : 503;
    this.host.httpAdapter.reply(response, { problem: (error as Error).message }, status);
  }
}

class Order {
  @IsInt() amount!: number;
}

@Injectable()
class SlowPipe implements PipeTransform {
  async transform(value: { wrong?: boolean }) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    if (value.wrong) throw new nest.BadRequestException('wrong');
    return value;
  }
}

const before: NestInterceptor = {
  intercept(context: ExecutionContext, next: CallHandler) {
    const { body } = context.switchToHttp().getRequest<{ body: { refuse?: boolean } }>();
    return body.refuse ? throwError(() => new nest.ForbiddenException('before the handler')) : next.handle();
  },
};
const after = (error: Error): NestInterceptor => ({
  intercept: (_context, next) =>
    next.handle().pipe(
      map(() => {
        throw error;
      }),
    ),
});
const impatient = givingUp(begins);
/** Also while the handler of another request runs. */
const impatientWaiter = givingUp(soonAfter(() => late.running > 0));
const within = (ms: number): NestInterceptor => ({
  intercept: (_context, next) =>
    next.handle().pipe(
      timeout(ms),
      catchError((error: unknown) =>
        throwError(() => (error instanceof TimeoutError ? new RequestTimeoutException() : error)),
      ),
    ),
});
const withFallback: NestInterceptor = {
  intercept: (_context, next) => next.handle().pipe(catchError((error: Error) => of({ fallback: error.message }))),
};
const remapped: NestInterceptor = {
  intercept: (_context, next) =>
    next.handle().pipe(catchError((error: Error) => throwError(() => new nest.ConflictException(error.message)))),
};
const slowly = (ms: number): NestInterceptor => ({
  intercept: (_context, next) =>
    next.handle().pipe(
      mergeMap(async (value: unknown) => {
        await pause(ms);
        return value;
      }),
      tap(),
    ),
});

const withFallbackWhenLate: NestInterceptor = {
  intercept: (_context, next) => next.handle().pipe(raceWith(begins.pipe(map(() => ({ fallback: randomUUID() }))))),
};

/** Answers at once what is done in the background. */
const early: NestInterceptor = {
  intercept(context, next) {
    context.switchToHttp().getResponse<{ send(body: unknown): unknown }>().send({ accepted: randomUUID() });
    return next.handle();
  },
};

/** As an interceptor for uploads: there is much to read before the handler. */
const uploading: NestInterceptor = {
  async intercept(_context, next) {
    await pause(200);
    return next.handle();
  },
};
const uploadingPipe: PipeTransform = { transform: (value: unknown) => pause(200).then(() => value) };

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Every way to fail. */
@Controller('failures')
export class FailuresController {
  @Post('exception/:name')
  @Idempotent()
  exception(@Param('name') name: string) {
    ran();
    throw new (nest as unknown as Record<string, Type<HttpException>>)[name](`text ${randomUUID()}`);
  }

  @Post('status/:status')
  @Idempotent()
  status(@Param('status', ParseIntPipe) status: number) {
    ran();
    throw new HttpException({ reason: randomUUID(), nested: { list: [1] } }, status);
  }

  @Post('error')
  @Idempotent()
  error() {
    ran();
    throw new Error('a secret');
  }

  @Post('no-error')
  @Idempotent()
  noError() {
    ran();
    throw 'a string'; // oxlint-disable-line no-throw-literal, typescript/only-throw-error
  }

  @Post('revoked')
  @Idempotent()
  revoked() {
    ran();
    const { proxy, revoke } = Proxy.revocable(new Error('of a finished task'), {});
    revoke();
    throw proxy;
  }

  @Post('rejected')
  @Idempotent()
  async rejected() {
    ran();
    await pause(1);
    throw new nest.NotFoundException({ message: randomUUID() });
  }

  @Post('out-of-stock')
  @UseFilters(ShopFilter)
  @Idempotent()
  outOfStock() {
    ran();
    throw new OutOfStock(randomUUID());
  }

  @Post('overloaded')
  @UseFilters(ShopFilter)
  @Idempotent()
  overloaded() {
    ran();
    throw new Overloaded('later');
  }

  @Post('validated')
  @Idempotent()
  validated(@Body(new ValidationPipe({ transform: true })) order: Order) {
    ran();
    return { order, id: randomUUID() };
  }

  @Post('slow-pipe')
  @Idempotent()
  slowPipe(@Body(new SlowPipe()) body: object) {
    ran();
    return { body, id: randomUUID() };
  }

  @Post('refused-inside')
  @UseInterceptors(before)
  @Idempotent()
  refusedInside(@Body() body: object) {
    ran();
    return { body, id: randomUUID() };
  }

  @Post('refused-outside')
  @Idempotent()
  @UseInterceptors(before)
  refusedOutside(@Body() body: object) {
    ran();
    return { body, id: randomUUID() };
  }

  @Post('failed-inside')
  @UseInterceptors(after(new Error('inside')))
  @Idempotent()
  failedInside() {
    ran();
    return 'done';
  }

  @Post('refused-after-inside')
  @UseInterceptors(after(new nest.GoneException('inside')))
  @Idempotent()
  refusedAfterInside() {
    ran();
    return 'done';
  }

  @Post('failed-outside')
  @Idempotent()
  @UseInterceptors(after(new Error('outside')))
  failedOutside() {
    ran();
    return 'done';
  }

  @Post('refused-after-outside')
  @Idempotent()
  @UseInterceptors(after(new nest.GoneException('outside')))
  refusedAfterOutside() {
    ran();
    return 'done';
  }

  @Post('fallback-inside')
  @UseInterceptors(withFallback)
  @Idempotent()
  fallbackInside() {
    ran();
    throw new Error('caught');
  }

  @Post('fallback-outside')
  @Idempotent()
  @UseInterceptors(withFallback)
  fallbackOutside() {
    ran();
    throw new Error('caught');
  }

  @Post('refused-fallback-inside')
  @UseInterceptors(withFallback)
  @Idempotent()
  refusedFallbackInside() {
    ran();
    throw new nest.ConflictException('sold out');
  }

  @Post('refused-fallback-outside')
  @Idempotent()
  @UseInterceptors(withFallback)
  refusedFallbackOutside() {
    ran();
    throw new nest.ConflictException('sold out');
  }

  @Post('remapped-outside')
  @Idempotent()
  @UseInterceptors(remapped)
  remappedOutside() {
    ran();
    throw new Error(randomUUID());
  }

  @Post('slowly-outside')
  @Idempotent()
  @UseInterceptors(slowly(20))
  slowlyOutside() {
    ran();
    return { id: randomUUID() };
  }

  @Post('very-slowly-outside')
  @Idempotent()
  @UseInterceptors(slowly(1_300))
  verySlowlyOutside() {
    ran();
    return { id: randomUUID() };
  }

  @Post('timeout-inside')
  @UseInterceptors(impatient)
  @Idempotent()
  timeoutInside(@Body() body: { fail?: boolean }) {
    return lateHandler(body);
  }

  @Post('timeout-outside')
  @Idempotent()
  @UseInterceptors(impatient)
  timeoutOutside(@Body() body: { fail?: boolean }) {
    return lateHandler(body);
  }

  @Post('timeout-fallback')
  @UseInterceptors(withFallbackWhenLate)
  @Idempotent()
  timeoutFallback(@Body() body: { fail?: boolean }) {
    return lateHandler(body);
  }

  @Post('answered-early')
  @UseInterceptors(early)
  @Idempotent()
  answeredEarly(@Body(uploadingPipe) _body: object, @nest.Res() _response: unknown) {
    ran();
  }

  @Post('timeout-while-waiting')
  @Idempotent({ onConflict: 'wait' })
  @UseInterceptors(impatientWaiter)
  timeoutWhileWaiting(@Body() body: { fail?: boolean }) {
    return lateHandler(body);
  }

  @Post('timeout-inside-before')
  @UseInterceptors(within(40))
  @Idempotent()
  timeoutInsideBefore(@Body(uploadingPipe) body: object) {
    ran();
    return body;
  }

  @Post('timeout-outside-before')
  @UseInterceptors(uploading)
  @Idempotent()
  @UseInterceptors(within(40))
  timeoutOutsideBefore(@Body() body: object) {
    ran();
    return body;
  }

  @Post('not-stored')
  @Idempotent()
  notStored(@IdempotentExecution() execution: Execution) {
    ran();
    execution.doNotStore();
    return 'not stored';
  }

  @Post('released-404')
  @Idempotent({ outcome: ({ status, error }) => (status === 404 && error instanceof Error ? 'release' : 'store') })
  released() {
    ran();
    throw new nest.NotFoundException('not yet');
  }

  @Post('stored-500')
  @Idempotent({ outcome: () => 'store' })
  stored() {
    ran();
    throw new Error('for good');
  }

  @Post('outcome-throws')
  @Idempotent({
    outcome: () => {
      throw new Error('in the option');
    },
  })
  outcomeThrows() {
    ran();
    return randomUUID();
  }
}

async function lateHandler({ fail }: { fail?: boolean }): Promise<string> {
  ran();
  await late.run();
  if (fail) throw new Error('late');
  return 'late';
}
