/** What the examples of docs/security.md take for granted. */
export { Body, Post } from '@nestjs/common';
export { Idempotent, IdempotencyModule } from 'nestjs-idempotency';

export interface ApiKeyRequest {
  readonly name: string;
}
export interface DeviceDto {
  readonly name: string;
}

export abstract class Members {
  protected readonly apiKeys!: { mint(request: ApiKeyRequest): Promise<{ key: string }> };
  protected readonly devices!: { register(device: DeviceDto): Promise<{ id: string; token: string }> };
}

export declare const oldKey: Buffer;
