import { BadGatewayException, Injectable } from '@nestjs/common';
import { config } from '../config.js';

const TIMEOUT_MS = 10_000;

export interface ChargeRequest {
  /** In cents. */
  readonly amount: number;
  readonly currency: string;
  /** The order that is paid. */
  readonly reference: string;
  readonly card: string;
}

/** The provider's last word on a charge. */
export interface Charge {
  readonly id: string;
  readonly status: 'succeeded' | 'declined';
}

export interface TransferRequest {
  /** In cents. */
  readonly amount: number;
  readonly currency: string;
  readonly iban: string;
}

/** The payment provider's HTTP interface. `provider/main.ts` plays the provider. */
@Injectable()
export class ProviderClient {
  /** The same `key` again returns the same charge. */
  charge(key: string, charge: ChargeRequest, signal: AbortSignal): Promise<Charge> {
    return this.post<Charge>('/charges', charge, { key, signal, statuses: [402] });
  }

  /** The same `key` again sends nothing. */
  sendReceipt(key: string, receipt: object, signal: AbortSignal): Promise<{ id: string }> {
    return this.post('/receipts', receipt, { key, signal });
  }

  /** Takes no key: each call is a transfer. */
  transfer(transfer: TransferRequest): Promise<{ id: string }> {
    return this.post('/transfers', transfer);
  }

  /** @throws BadGatewayException where nothing is known of what the provider did */
  private async post<T>(
    path: string,
    body: object,
    { key, signal, statuses = [] }: { key?: string; signal?: AbortSignal; statuses?: number[] } = {},
  ): Promise<T> {
    const timeout = AbortSignal.timeout(TIMEOUT_MS);
    try {
      const response = await fetch(new URL(path, config.PROVIDER_URL), {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', ...(key && { 'Idempotency-Key': key }) },
        body: JSON.stringify(body),
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      });
      if (response.ok || statuses.includes(response.status)) return (await response.json()) as T;
      throw new Error(`${path}: ${response.status}`);
    } catch (cause) {
      throw new BadGatewayException('The payment provider did not answer', { cause });
    }
  }
}
