import { Global, Injectable, Module, type ModuleMetadata, type NestApplicationOptions } from '@nestjs/common';
import type { ExpressAdapter, NestExpressApplication } from '@nestjs/platform-express';
import type { FastifyAdapter, NestFastifyApplication } from '@nestjs/platform-fastify';
import { InjectRepository, TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import type { IdempotencyModuleOptions, Idempotent } from 'nestjs-idempotency';
import { Column, type DataSource, Entity, PrimaryGeneratedColumn, type Repository } from 'typeorm';
import type { RawAnswer, RawRequest } from '../conformance/support/raw-http.js';

export type Adapter = 'express' | 'fastify';
export type NestApplication = Omit<NestExpressApplication, 'getHttpAdapter'> & NestFastifyApplication;

/** A small application, written as the documentation of a package has one write it. */
export interface Application {
  readonly name: string;
  /** Default: both. */
  readonly adapters?: readonly Adapter[];
  /** Called twice: for the application with `@Idempotent()`, and for the one where that decorator does nothing. */
  readonly build: (field: Field) => Parts;
  readonly options?: Pick<NestApplicationOptions, 'rawBody'>;
  /** `main.ts` between `create()` and `listen()`. */
  readonly setup?: (app: NestApplication, field: Field) => unknown;
  readonly exchanges: readonly Exchange[];
  /** Log lines of the library that are in order. Any other line that the bare application does not log is a difference. */
  readonly logs?: readonly RegExp[];
}

export interface Field {
  readonly adapter: Adapter;
  readonly Idempotent: typeof Idempotent;
  /** Keeps what surrounds the handler saw of an exchange: a log line, a hook that ran. */
  readonly note: (line: string) => void;
}

export interface Parts extends Pick<ModuleMetadata, 'imports' | 'controllers' | 'providers'> {
  readonly options?: IdempotencyModuleOptions;
  readonly httpAdapter?: ExpressAdapter | FastifyAdapter;
  readonly dataSourceFactory?: (options?: TypeOrmModuleOptions) => Promise<DataSource>;
}

/** How lines of the head begin, in lower case, and why they are excepted: `{ 'set-cookie: sid=': 'of each session' }`. */
export type Exceptions = Readonly<Record<string, string>>;

export interface Exchange {
  readonly name: string;
  /** What is sent. A function may send others first: to log in, to get a cookie. It is called once for each application. */
  readonly request: RawRequest | ((client: Client) => Promise<RawRequest>);
  readonly status: number;
  /** Rows that it leaves in the table of effects. Default: 1 where the status is below 400, else 0. */
  readonly effects?: number;
  /** What a retry with the same key is. Default: replayed below 500. */
  readonly retry?: 'replayed' | 'rerun';
  /** What {@link Field.note} was called with, at every exchange alike. */
  readonly notes?: readonly string[];
  /** The same for a replay, where something rightly does not run. */
  readonly notesOfReplay?: readonly string[];
  /** Headers that have to be there in every answer, and whose values differ from one exchange to the next. */
  readonly differs?: Exceptions;
  /** Headers of the first answer that a replay rightly lacks. */
  readonly replayLacks?: Exceptions;
  /** Makes the bodies of two executions comparable, where the application puts the time into them. A replay's body is as it was. */
  readonly comparableBody?: (body: string) => string;
  /** `false`: what is replayed is not the HTTP response, so that no header says so. */
  readonly marked?: false;
  /** `false`: no duplicates while the handler runs. They are sent where a retry is replayed and there is an effect. */
  readonly concurrent?: false;
  /** What else has to be so, of the application with `@Idempotent()` alone: after the retry, with its request and key. */
  readonly check?: (client: Client, request: RawRequest, answers: { first: RawAnswer; retried: RawAnswer }) => unknown;
}

export interface Client {
  readonly app: NestApplication;
  readonly send: (request: RawRequest) => Promise<RawAnswer>;
  readonly effects: () => Promise<string[]>;
  /** How many calls of `Effects.add()` have begun since the exchange began. */
  readonly begun: () => number;
  /** From now on, handlers wait in `Effects.add()`. */
  readonly hold: () => void;
  readonly release: () => void;
}

export const application = (declaration: Application): Application => declaration;

@Entity('effect')
export class Effect {
  @PrimaryGeneratedColumn() id!: number;
  @Column({ type: 'varchar' }) what!: string;
}

/** What handlers do: a row, of which a second one would be a second payment. */
@Injectable()
export class Effects {
  begun = 0;
  private gate: Promise<void> | undefined;
  private open: () => void = () => undefined;

  constructor(@InjectRepository(Effect) private readonly rows: Repository<Effect>) {}

  /** Returns how many there are now: the bare application and the first request see the same number. */
  async add(what = 'paid'): Promise<number> {
    this.begun++;
    await this.gate;
    await this.rows.insert({ what });
    return this.rows.count();
  }

  async all(): Promise<string[]> {
    return (await this.rows.find({ order: { id: 'ASC' } })).map((row) => row.what);
  }

  async reset(): Promise<void> {
    this.release();
    this.begun = 0;
    await this.rows.clear();
  }

  hold(): void {
    this.gate = new Promise((resolve) => (this.open = resolve));
  }

  release(): void {
    this.open();
    this.gate = undefined;
  }
}

@Global()
@Module({ imports: [TypeOrmModule.forFeature([Effect])], providers: [Effects], exports: [Effects, TypeOrmModule] })
export class EffectsModule {}
