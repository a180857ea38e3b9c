import {
  ConfigurableModuleBuilder,
  Controller,
  Inject,
  Module,
  Optional,
  type Provider,
  UseGuards,
  VERSION_NEUTRAL,
} from '@nestjs/common';
import { NotIdempotent } from '../decorators/idempotent.decorator.js';
import { IdempotencyService } from '../service/idempotency.service.js';
import { Dashboard } from './dashboard.js';
import { DashboardController } from './dashboard.controller.js';
import {
  checkExtras,
  type IdempotencyDashboardExtras,
  type IdempotencyDashboardOptions,
  resolveDashboardOptions,
} from './options.js';

const EXTRAS: Required<IdempotencyDashboardExtras> = {
  path: '/idempotency',
  guards: [],
  public: false,
  imports: [],
  decorators: [],
};

/** The key of `@ApiExcludeController()` of `@nestjs/swagger`, which need not be installed. */
const NOT_IN_OPENAPI = 'swagger/apiExcludeController';

const OPTIONS = Symbol('IDEMPOTENCY_DASHBOARD_OPTIONS');

const DASHBOARD: Provider = {
  provide: Dashboard,
  useFactory: (service: IdempotencyService, options: IdempotencyDashboardOptions) =>
    new Dashboard(service, resolveDashboardOptions(options)),
  inject: [IdempotencyService, OPTIONS],
};

const { ConfigurableModuleClass } = new ConfigurableModuleBuilder<IdempotencyDashboardOptions>({
  optionsInjectionToken: OPTIONS,
})
  .setClassMethodName('forRoot')
  .setFactoryMethodName('createDashboardOptions')
  .setExtras(EXTRAS as IdempotencyDashboardExtras, (definition, given) => {
    const extras = { ...EXTRAS, ...given };
    checkExtras(extras);
    return {
      ...definition,
      imports: [...new Set([...(definition.imports ?? []), ...(extras.imports ?? [])])],
      controllers: [controllerAt(extras)],
      providers: [...(definition.providers ?? []), DASHBOARD],
    };
  })
  .build();

/**
 * A page for operators: the list of records, the timeline of each, live activity, and actions for held records. Import it beside
 * `IdempotencyModule`, with `forRoot({ ... })`, or with `forRootAsync({ ... })`, which takes `path`, `guards`, `public`, `imports` and
 * `decorators` beside `useFactory`.
 *
 * @throws IdempotencyOptionError without a guard, unless `public: true`, and for an invalid option, naming it
 *
 * @example
 * IdempotencyDashboardModule.forRoot({ path: '/idempotency', guards: [AdminGuard], actions: true })
 */
@Module({})
export class IdempotencyDashboardModule extends ConfigurableModuleClass {
  constructor(@Optional() @Inject(OPTIONS) options?: IdempotencyDashboardOptions) {
    super();
    if (options) return;
    throw new Error(
      'IdempotencyDashboardModule: import it as forRoot({ guards: [AdminGuard] }): it has no page without a guard',
    );
  }
}

/** Makes a class for each import, because Nest stores path and guards as metadata of the class. */
function controllerAt({ path, guards = [], decorators = [] }: IdempotencyDashboardExtras) {
  class IdempotencyDashboardController extends DashboardController {}
  const all = [
    ...decorators,
    Controller({ path: path!, version: VERSION_NEUTRAL }),
    UseGuards(...guards),
    NotIdempotent(),
    (target: object) => Reflect.defineMetadata(NOT_IN_OPENAPI, [true], target),
  ];
  for (const decorate of all) decorate(IdempotencyDashboardController as never);
  return IdempotencyDashboardController;
}
