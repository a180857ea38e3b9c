import { type DynamicModule, Global, Inject, Module, type OnApplicationBootstrap } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { Server } from 'node:http';
import type { EngineParts } from '../engine/engine.js';
import { IDEMPOTENCY_ENGINE_FACTORY } from '../module/idempotency.tokens.js';
import { IDEMPOTENCY_FAULTS_WRAP, IdempotencyFaults } from './idempotency-faults.js';

/**
 * Puts {@link IdempotencyFaults} between an application's idempotency and its store, for tests.
 *
 * @example
 * const module = await Test.createTestingModule({ imports: [AppModule, IdempotencyFaultsModule] }).compile();
 */
@Global()
@Module({
  providers: [IdempotencyFaults, { provide: IDEMPOTENCY_ENGINE_FACTORY, useExisting: IdempotencyFaults }],
  exports: [IdempotencyFaults, IDEMPOTENCY_ENGINE_FACTORY],
})
export class IdempotencyFaultsModule implements OnApplicationBootstrap {
  constructor(
    @Inject(IdempotencyFaults) private readonly faults: IdempotencyFaults,
    @Inject(HttpAdapterHost) private readonly host: HttpAdapterHost,
  ) {}

  /** @param wrap changes the parts of the engine, on top of the faults */
  static forRoot({ wrap }: { wrap: (parts: EngineParts) => EngineParts }): DynamicModule {
    return {
      module: IdempotencyFaultsModule,
      providers: [{ provide: IDEMPOTENCY_FAULTS_WRAP, useValue: wrap }],
    };
  }

  onApplicationBootstrap(): void {
    const server = this.host.httpAdapter?.getHttpServer() as Server | undefined;
    if (server) this.faults.listen(server);
  }
}
