import { BadGatewayException, Injectable } from '@nestjs/common';
import { config } from '../config.js';

export interface ChargeRequest {
  /** In cents. */
  amount: number;
  currency: string;
  /** The order that is paid. */
  reference: string;
  card: string;
}

/** The provider's last word on a charge. */
export interface Charge {
  id: string;
  status: 'succeeded' | 'declined';
}

/** The shop's side of the payment provider's HTTP interface. */
@Injectable()
export class PaymentsService {
  private readonly url = `${config.provider.url}/charges`;

  /**
   * Returns the provider's last word. Anything else that happens is thrown as a 502, which says nothing about whether
   * the customer was charged: that is what `find` is for.
   */
  async charge(key: string, charge: ChargeRequest, signal: AbortSignal): Promise<Charge> {
    const response = await this.ask(this.url, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        'Idempotency-Key': key,
      },
      body: JSON.stringify(charge),
      signal: AbortSignal.any([signal, this.timeout()]),
    });
    if (response.ok || response.status === 402) return this.read(response);
    throw unavailable(`answered ${response.status}`);
  }

  /** Looks up what became of a charge; undefined when the provider never booked it. */
  async find(key: string): Promise<Charge | undefined> {
    const response = await this.ask(`${this.url}/${key}`, {
      signal: this.timeout(),
    });
    if (response.ok) return this.read(response);
    if (response.status === 404) return undefined;
    throw unavailable(`answered ${response.status}`);
  }

  private async ask(url: string, init: RequestInit): Promise<Response> {
    try {
      return await fetch(url, init);
    } catch (error) {
      throw unavailable('did not answer', error);
    }
  }

  private async read(response: Response): Promise<Charge> {
    try {
      const { id, status } = (await response.json()) as Charge;
      return { id, status };
    } catch (error) {
      throw unavailable('broke off its answer', error);
    }
  }

  private timeout(): AbortSignal {
    return AbortSignal.timeout(config.provider.timeoutMs);
  }
}

function unavailable(what: string, cause?: unknown): BadGatewayException {
  return new BadGatewayException(`The payment provider ${what}`, { cause });
}
