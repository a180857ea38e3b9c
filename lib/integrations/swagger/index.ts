import { type INestApplication, Logger } from '@nestjs/common';
import { DiscoveryService, MetadataScanner, ModulesContainer } from '@nestjs/core';
import {
  ApiExtension,
  ApiHeader,
  type OpenAPIObject,
  type SwaggerDocumentOptions,
  SwaggerModule,
} from '@nestjs/swagger';
import { REPLAYED_HEADER } from '../../edges/http/write-response.js';
import { IDEMPOTENCY_OPTIONS } from '../../module/idempotency.tokens.js';
import { OperationOptions } from '../../handlers/operation-options.js';
import type { ResolvedModuleOptions } from '../../options/resolved-options.js';
import { resolveModuleOptions } from '../../options/resolve-options.js';
import { type ProblemCode, PROBLEMS } from '../../problems/problem.js';
import { Routes } from '../../handlers/routes.js';
import { operationPolicy, type OperationPolicy } from '../../service/policy.js';

const EXTENSION = 'x-idempotency';

const REPLAYED = {
  description: 'Whether this is the recorded response of an earlier request with the same key',
  schema: { type: 'string', enum: ['true'] },
};

type Responses = Record<string, object>;
type Response = { readonly headers?: Record<string, object> };
type Operation = { responses: Responses; [EXTENSION]?: { problems: readonly ProblemCode[] } };

const described = new WeakSet<object>();

/**
 * As `SwaggerModule.createDocument()`, and adds to every idempotent operation: the key's header, the problem responses, the header that
 * marks replays, and the policy as `x-idempotency`. A response that the application describes stays unchanged.
 *
 * @example
 * SwaggerModule.setup('api', app, () => createDocument(app, new DocumentBuilder().build()));
 */
export function createDocument(
  app: INestApplication,
  config: Omit<OpenAPIObject, 'paths'>,
  options?: SwaggerDocumentOptions,
): OpenAPIObject {
  describeOperations(app);
  const document = SwaggerModule.createDocument(app, config, options);
  for (const path of Object.values(document.paths)) {
    for (const operation of Object.values(path) as (Operation | undefined)[]) {
      if (!operation?.[EXTENSION]) continue;
      markReplays(operation.responses);
      addProblems(operation.responses, operation[EXTENSION].problems);
    }
  }
  return document;
}

/** Adds decorators, because the document does not name the handler of an operation. */
function describeOperations(app: INestApplication): void {
  const module = optionsOf(app);
  // Not the module's provider: Nest creates none under `preview: true`.
  const operations = new OperationOptions(module);
  const discovery = new DiscoveryService(app.get(ModulesContainer, { strict: false }));
  for (const route of new Routes(discovery, new MetadataScanner()).idempotent()) {
    if (route.kind !== 'http' || described.has(route.handler)) continue;
    described.add(route.handler);
    const options = operations.of(route.controller, route.handler)!;
    const { handler: _name, kind: _kind, ...policy } = operationPolicy(route, options);
    const apply = (decorator: MethodDecorator) => decorator({}, '', { value: route.handler } as never);
    apply(ApiExtension(EXTENSION, policy));
    if (!options.key) apply(ApiHeader(header(module, policy)));
  }
}

function optionsOf(app: INestApplication): ResolvedModuleOptions {
  const options = app.get<ResolvedModuleOptions | null>(IDEMPOTENCY_OPTIONS, { strict: false });
  if (options) return options;
  new Logger('Idempotency').warn(
    'Under `preview: true` the factory of forRootAsync() is not run: the OpenAPI document shows the default options',
  );
  return resolveModuleOptions({});
}

/** Marks successes only, as the option `outcome` decides at run time which errors are recorded. A reference stays unchanged. */
function markReplays(responses: Responses): void {
  for (const [status, response] of Object.entries(responses) as [string, Response][]) {
    if (!/^[23]/.test(status) || '$ref' in response) continue;
    responses[status] = { ...response, headers: { [REPLAYED_HEADER]: REPLAYED, ...response.headers } };
  }
}

function header({ header: name, keyFormat }: ResolvedModuleOptions, policy: Omit<OperationPolicy, 'handler' | 'kind'>) {
  const { minLength, maxLength, pattern } = keyFormat;
  return {
    name,
    required: policy.required,
    description:
      `A key of your choosing, new for each operation: ${minLength} to ${maxLength} characters, as a String of RFC 8941 ` +
      `or bare. A request that comes again with the same key gets the first outcome, for ${text(policy.retentionSeconds)} ` +
      `after it was completed.`,
    schema: { type: 'string', minLength, maxLength, pattern: pattern.source } as const,
    example: '8e03978e-40d5-43e8-bc93-6894a57f9324',
  };
}

function text(seconds: number): string {
  if (seconds % 86_400 === 0) return `${seconds / 86_400} d`;
  if (seconds % 3_600 === 0) return `${seconds / 3_600} h`;
  return `${seconds} s`;
}

function addProblems(responses: Responses, problems: readonly ProblemCode[]): void {
  const statusOf = (code: ProblemCode) => PROBLEMS[code].status;
  for (const status of new Set(problems.map(statusOf))) {
    const codes = problems.filter((code) => statusOf(code) === status);
    responses[status] ??= problemResponse(status, codes);
  }
}

function problemResponse(status: number, codes: readonly ProblemCode[]): object {
  return {
    description: `Idempotency: ${codes.join(', ')}`,
    ...(codes.some((code) => code === 'in-progress' || status === 503) && {
      headers: { 'Retry-After': { description: 'Seconds', schema: { type: 'integer' } } },
    }),
    content: {
      'application/problem+json': {
        schema: {
          type: 'object',
          required: ['type', 'title', 'status', 'detail', 'code', 'retryable'],
          properties: {
            type: { type: 'string', format: 'uri' },
            title: { type: 'string' },
            status: { type: 'integer', enum: [status] },
            detail: { type: 'string' },
            code: { type: 'string', enum: [...codes] },
            retryable: { type: 'boolean' },
          },
        },
      },
    },
  };
}
