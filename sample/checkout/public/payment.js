/**
 * One logical payment: a key and a card token of its own, the same for every try. A new one begins when the customer
 * means another payment: another cart, or "New payment".
 */
export class Payment {
  key = crypto.randomUUID();
  /** A token for this payment alone, as payment providers hand them out: it tells whose the charges are. */
  card = `tok_${crypto.randomUUID().slice(0, 8)}`;
  requests = 0;
  answers = { paid: 0, replayed: 0, refused: 0, failed: 0, lost: 0 };
  message = '';

  constructor(items, protection) {
    this.items = items;
    this.protection = protection;
  }

  /** Sends it until the answer is definitive. */
  async pay(onChange) {
    const giveUpAt = Date.now() + 40_000;
    for (;;) {
      const { status, replayed, body } = await this.#send(onChange);
      if (replayed) this.answers.replayed++;
      else if (status === 0) this.answers.lost++;
      else if (status < 300) this.answers.paid++;
      else if (status < 500) this.answers.refused++;
      else this.answers.failed++;
      const mayRetry = status === 0 || status >= 500 || (status === 409 && body.code === 'in-progress');
      this.message = status < 300 && status > 0 ? '' : (body.detail ?? body.message ?? 'The connection broke');
      onChange();
      if (!mayRetry || Date.now() > giveUpAt) return;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  }

  async #send(onChange) {
    this.requests++;
    onChange();
    try {
      const response = await fetch(this.protection ? '/checkout' : '/unprotected/checkout', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'Idempotency-Key': this.key },
        body: JSON.stringify({ items: this.items, card: this.card }),
      });
      const replayed = response.headers.get('Idempotent-Replayed') === 'true';
      return { status: response.status, replayed, body: await response.json() };
    } catch {
      return { status: 0, replayed: false, body: {} };
    }
  }
}
