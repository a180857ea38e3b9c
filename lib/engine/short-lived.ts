/**
 * After so many deletions more than there are entries, the entries move to a new table. That is about when V8 would rebuild the
 * old one, and costs a deletion the copy of one entry.
 */
const MOVE_AFTER_DELETIONS = 32;

/**
 * A Map for entries that come and go with requests.
 *
 * V8 rebuilds the table of a Map once it is full of deleted entries, and leaves the old table pointing to the new one, for
 * iterators. A table that has reached the old generation then keeps every later table, and whatever was in it, until the next
 * major collection: each scavenge copies all that finished requests have made, which is three times the garbage collection of a
 * replay. A copy has no table before it.
 */
export class ShortLivedMap<K, V> {
  private entries = new Map<K, V>();
  private deletions = 0;

  get size(): number {
    return this.entries.size;
  }

  get(key: K): V | undefined {
    return this.entries.get(key);
  }

  has(key: K): boolean {
    return this.entries.has(key);
  }

  set(key: K, value: V): void {
    this.entries.set(key, value);
  }

  delete(key: K): boolean {
    if (!this.entries.delete(key)) return false;
    if (++this.deletions > MOVE_AFTER_DELETIONS + this.entries.size) {
      this.entries = new Map(this.entries);
      this.deletions = 0;
    }
    return true;
  }

  clear(): void {
    this.entries = new Map();
    this.deletions = 0;
  }

  /** In the order in which they were added, without those that are deleted meanwhile. */
  *[Symbol.iterator](): Generator<[K, V]> {
    for (const entry of this.entries) if (this.entries.has(entry[0])) yield entry;
  }
}

/** A Set for items that come and go with requests: see {@link ShortLivedMap}. */
export class ShortLivedSet<T> {
  private readonly items = new ShortLivedMap<T, true>();

  get size(): number {
    return this.items.size;
  }

  has(item: T): boolean {
    return this.items.has(item);
  }

  add(item: T): void {
    this.items.set(item, true);
  }

  delete(item: T): boolean {
    return this.items.delete(item);
  }

  clear(): void {
    this.items.clear();
  }

  *[Symbol.iterator](): Generator<T> {
    for (const [item] of this.items) yield item;
  }
}
