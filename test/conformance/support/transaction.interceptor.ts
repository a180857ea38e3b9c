import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import { from, lastValueFrom, type Observable } from 'rxjs';
import { DataSource, type EntityManager } from 'typeorm';

/** A request whose transaction an interceptor has begun. */
export interface TransactionRequest {
  readonly headers: Record<string, string>;
  manager?: EntityManager;
}

/** A transaction for each request, by TypeORM's own method, as many applications have it. */
@Injectable()
export class TransactionInterceptor implements NestInterceptor {
  constructor(private readonly dataSource: DataSource) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const request = context.switchToHttp().getRequest<TransactionRequest>();
    return from(
      this.dataSource.transaction((manager) => {
        request.manager = manager;
        return lastValueFrom(next.handle());
      }),
    );
  }
}
