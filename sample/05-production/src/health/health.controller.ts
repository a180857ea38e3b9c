import { Controller, Get, HttpCode } from '@nestjs/common';
import { HealthCheck, HealthCheckService, TypeOrmHealthIndicator } from '@nestjs/terminus';
import { IdempotencyHealthIndicator } from 'nestjs-idempotency/terminus';
import { Public } from '../auth/user.js';

@Public()
@Controller('health')
export class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly database: TypeOrmHealthIndicator,
    private readonly idempotency: IdempotencyHealthIndicator,
  ) {}

  /** For the load balancer: 503 takes this instance out. Without Redis it is `degraded`, and stays in. */
  @Get()
  @HealthCheck()
  ready() {
    return this.health.check([
      () => this.database.pingCheck('database', { timeout: 1_000 }),
      () => this.idempotency.isHealthy('idempotency', { timeout: 1_000 }),
    ]);
  }

  /** For the orchestrator: a database that is down is no reason to start this process again. */
  @Get('live')
  @HttpCode(204)
  live(): void {}
}
