/** Pseudo-random numbers out of a seed (mulberry32): the same seed gives the same choices. */
export class Random {
  private state: number;

  constructor(seed: string | number) {
    let hash = 2_166_136_261;
    for (const char of String(seed)) hash = Math.imul(hash ^ char.charCodeAt(0), 16_777_619);
    this.state = hash >>> 0;
  }

  /** From 0 to 1, without 1. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  between(low: number, high: number): number {
    return Math.round(low + this.next() * (high - low));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.next() * from.length)];
  }

  /** Picks by weight. */
  weighted<T>(from: readonly (readonly [T, number])[]): T {
    let at = this.next() * from.reduce((sum, [, weight]) => sum + weight, 0);
    return (from.find(([, weight]) => (at -= weight) < 0) ?? from[0])[0];
  }
}
