import { type MsgHdrs, headers } from '@nats-io/transport-node';
import type { ExecutionContext } from '@nestjs/common';
import { ExecutionContextHost } from '@nestjs/core/helpers/execution-context-host.js';
import {
  EventPattern,
  GrpcMethod,
  GrpcStreamMethod,
  KafkaContext,
  KafkaRetriableException,
  MessagePattern,
  MqttContext,
  NatsContext,
  RedisContext,
  RmqContext,
  RpcException,
  TcpContext,
} from '@nestjs/microservices';
import { messageOf, subjectParameters } from '../../../../lib/edges/rpc/message.js';
import { readMessageKey } from '../../../../lib/edges/rpc/message-key.js';
import { takesStream } from '../../../../lib/private-names/nest.js';
import { statusOfError } from '../../../../lib/options/error-status.js';
import { readingOf } from '../../../support/key-reading.js';

class Handlers {
  @MessagePattern('orders.create')
  create() {}

  @MessagePattern({ cmd: 'sum', area: { b: 1, a: 2 } })
  sum() {}

  @EventPattern<string>('orders.*')
  any() {}

  @EventPattern<string[]>(['order.placed', 'order.paid'])
  several() {}

  @EventPattern<string[]>(['$share/stock/orders/placed', '$share/stock/orders/+/paid'])
  shared() {}

  @GrpcMethod('Payments', 'Pay')
  pay() {}

  @GrpcStreamMethod('Payments', 'PayAll')
  payAll() {}
}

const keyFormat = { minLength: 1, maxLength: 20, pattern: /^[\x21-\x7e]+$/ };
const settings = { header: 'Idempotency-Key', keyFormat, documentation: undefined };
const read = (context: ExecutionContext) => readingOf(() => readMessageKey(messageOf(context), settings));

function contextOf(transport: unknown, payload: unknown = {}, method: keyof Handlers = 'create'): ExecutionContext {
  const context = new ExecutionContextHost([payload, transport], Handlers, Handlers.prototype[method]);
  context.setType('rpc');
  return context;
}

function nats(record: Record<string, string[]>): NatsContext {
  const all: MsgHdrs = headers();
  for (const [name, values] of Object.entries(record)) for (const value of values) all.append(name, value);
  return new NatsContext(['orders.create', all]);
}

const rmq = (properties: object) => new RmqContext([{ properties }, {}, 'orders.create']);
const kafka = (all: object) => new KafkaContext([{ headers: all } as never, 0, 'orders.create', {}, {}, {}] as never);
const mqtt = (userProperties: object) =>
  new MqttContext(['orders.create', { properties: { userProperties } } as never]);

const event = { specversion: '1.0', id: '7', source: '/shop', data: {} };
const key = (text: string) => ({ kind: 'key', key: text });
const missing = { kind: 'missing' };

describe('the key of a message', () => {
  test.each([
    ['a header of NATS', nats({ 'idempotency-key': ['"abc"'] }), {}, key('abc')],
    [
      'one of a message of JetStream',
      { getMessage: () => ({ headers: nats({ 'idempotency-key': ['abc'] }).getHeaders() }) },
      {},
      key('abc'),
    ],
    ['one of a custom transport', { getHeaders: () => ({ 'Idempotency-Key': 'abc' }) }, {}, key('abc')],
    ['one of Kafka', kafka({ 'Idempotency-Key': Buffer.from('abc') }), {}, key('abc')],
    ['one of RabbitMQ', rmq({ headers: { 'idempotency-key': 'abc' } }), {}, key('abc')],
    ['a user property of MQTT', mqtt({ 'Idempotency-Key': 'abc' }), {}, key('abc')],
    ['metadata over TCP', new TcpContext([{} as never, 'orders.create', { 'idempotency-key': 'abc' }]), {}, key('abc')],
    ['metadata over Redis', new RedisContext(['orders.create', { 'idempotency-key': 'abc' }] as never), {}, key('abc')],
    ['before a CloudEvent', rmq({ messageId: 'm', headers: { 'idempotency-key': 'abc' } }), event, key('abc')],
    [
      'binary CloudEvents on NATS',
      nats({ 'ce-specversion': ['1.0'], 'ce-id': ['7'], 'ce-source': ['/shop'] }),
      {},
      key('/shop 7'),
    ],
    [
      'on Kafka',
      kafka({ ce_specversion: Buffer.from('1.0'), ce_id: Buffer.from('7'), ce_source: Buffer.from('/shop') }),
      {},
      key('/shop 7'),
    ],
    [
      'on AMQP',
      rmq({ headers: { 'cloudEvents:specversion': '1.0', 'cloudEvents:id': '7', 'cloudEvents:source': '/shop' } }),
      {},
      key('/shop 7'),
    ],
    ['on MQTT', mqtt({ specversion: '1.0', id: '7', source: '/shop' }), {}, key('/shop 7')],
    ['a structured CloudEvent', kafka({}), event, key('/shop 7')],
    ['before the message id', rmq({ messageId: 'm' }), event, key('/shop 7')],
    ['the AMQP message id', rmq({ messageId: 'm' }), {}, key('m')],
    [
      'a source with a space, against the rules, does not meet another one',
      kafka({}),
      { ...event, source: 'a b', id: 'c' },
      key(' ["a b","c"]'),
    ],
    ['an id alone is no CloudEvent', mqtt({ id: '7', source: '/shop' }), { id: '7', source: '/shop' }, missing],
    ['nothing', new NatsContext(['orders.create', undefined]), null, missing],
    ['nothing at all', undefined, undefined, missing],
  ])('%s', (_what, transport, payload, expected) => {
    expect(read(contextOf(transport, payload))).toEqual(expected);
  });

  test.each([
    ['a header twice', nats({ 'idempotency-key': ['a', 'b'] })],
    ['an empty header', nats({ 'idempotency-key': [''] })],
    ['one that is too long', rmq({ headers: { 'idempotency-key': 'x'.repeat(21) } })],
  ])('is invalid: %s', (_what, transport) => {
    expect(read(contextOf(transport, event))).toMatchObject({ kind: 'invalid' });
  });
});

describe('the endpoint of a message', () => {
  const endpointOf = (transport: unknown, method: keyof Handlers) => {
    const { endpoint, subject } = messageOf(contextOf(transport, {}, method));
    return [endpoint, subject];
  };

  test.each([
    ['text', rmq({}), 'create', ['RPC orders.create', 'orders.create']],
    [
      'an object, however its members are sorted',
      new TcpContext([{} as never, '{"area":{"b":1,"a":2},"cmd":"sum"}', undefined as never]),
      'sum',
      ['RPC {"area":{"a":2,"b":1},"cmd":"sum"}', '{"area":{"a":2,"b":1},"cmd":"sum"}'],
    ],
    ['wildcards', new NatsContext(['orders.new', undefined]), 'any', ['EVENT orders.* Handlers.any', 'orders.new']],
    [
      'one of several',
      new RmqContext([{}, {}, 'order.paid'] as never),
      'several',
      ['EVENT order.paid Handlers.several', 'order.paid'],
    ],
    [
      'a shared subscription of MQTT',
      new MqttContext(['orders/placed', {}]),
      'shared',
      ['EVENT orders/placed Handlers.shared', 'orders/placed'],
    ],
    [
      'one with wildcards',
      new MqttContext(['orders/7/paid', {}]),
      'shared',
      ['EVENT orders/placed | orders/+/paid Handlers.shared', 'orders/7/paid'],
    ],
    ['a context that does not say', {}, 'create', ['RPC orders.create', 'orders.create']],
    ['gRPC', {}, 'pay', ['RPC Payments/Pay', 'Payments/Pay']],
  ] as const)('%s', (_what, transport, method, expected) => {
    expect(endpointOf(transport, method)).toEqual(expected);
  });

  test('streams of requests are recognized', () => {
    const takes = (method: keyof Handlers) => takesStream(Handlers.prototype[method]);
    expect([takes('payAll'), takes('pay'), takes('create')]).toEqual([true, false, false]);
  });
});

describe('the status that stands for an error', () => {
  test.each([
    ['an RpcException', new RpcException('declined'), 400],
    ['with a status', new RpcException({ status: 422 }), 422],
    ['with a statusCode', new RpcException({ statusCode: 503 }), 503],
    ['with a status that is no number', new RpcException({ status: 'error' }), 400],
    ['with a gRPC code', new RpcException({ code: 14 }), 503],
    ['to be tried again', new KafkaRetriableException('later'), 503],
    ['another error', new Error('broken'), 500],
    ['a GraphQLError', Object.assign(new Error('no'), { name: 'GraphQLError', extensions: {} }), 500],
    ['with a code', Object.assign(new Error('no'), { name: 'GraphQLError', extensions: { code: 'DECLINED' } }), 400],
    ['with a status of HTTP', Object.assign(new Error('no'), { extensions: { http: { status: 429 } } }), 429],
    ['no error at all', 'text', 500],
  ])('%s', (_what, error, status) => {
    expect(statusOfError(error)).toBe(status);
  });
});

describe('What is left of a subject where the operation has a name', () => {
  class Named {
    @MessagePattern<string[]>(['orders.create', 'orders.make'])
    aliases() {}
    @MessagePattern('orders.*.pay')
    part() {}
    @EventPattern<string>('orders.>')
    rest() {}
    @EventPattern<string>('$share/stock/plants/+/pots/#')
    mqtt() {}
    @MessagePattern({ cmd: 'sum' })
    object() {}
  }
  const left = (method: keyof Named, subject: string) => subjectParameters(Named.prototype[method], subject);

  test('is what wildcards stand for, in their order', () => {
    expect(left('part', 'orders.7.pay')).toEqual(['7']);
    expect(left('rest', 'orders.7.pay')).toEqual(['7.pay']);
    expect(left('mqtt', 'plants/1.5/pots/3/4')).toEqual(['1.5', '3/4']);
  });

  test('is nothing where the pattern says all of it', () => {
    expect(left('aliases', 'orders.create')).toEqual([]);
    expect(left('aliases', 'orders.make')).toEqual([]);
    expect(left('aliases', 'orders.create | orders.make')).toEqual([]);
    expect(left('object', '{"cmd":"sum"}')).toEqual([]);
  });

  test('is the whole where no pattern says', () => {
    expect(left('part', 'ordersX7Xpay')).toEqual(['ordersX7Xpay']);
    expect(left('object', 'elsewhere')).toEqual(['elsewhere']);
  });
});
