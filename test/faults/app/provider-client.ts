/** A payment provider, as the application sees it: slow, and not always heard of again. */
export class ProviderClient {
  constructor(private readonly url: string) {}

  async charge(key: string, op: string): Promise<{ id: string }> {
    const answer = await fetch(`${this.url}/charges`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ key, op }),
      signal: AbortSignal.timeout(TIMEOUT),
    });
    return (await answer.json()) as { id: string };
  }

  /** The charge that was made under this key, if one was. */
  async find(key: string): Promise<{ id: string } | undefined> {
    const answer = await fetch(`${this.url}/charges/${key}`, { signal: AbortSignal.timeout(TIMEOUT) });
    return answer.status === 200 ? ((await answer.json()) as { id: string }) : undefined;
  }
}

const TIMEOUT = 800;
