/**
 * After so many deletions beyond four times what is left, the entries move to a new table. Copying them costs a request next to
 * nothing then, and what a chain of tables keeps is what a few hundred requests have made.
 */
const MOVE_AFTER_DELETIONS = 256;

/**
 * A Map for entries that come and go with requests.
 *
 * V8 rebuilds the table of a Map once it is full of deleted entries, and leaves the old table pointing to the new one, for
 * iterators. A table that has been idle long enough to reach the old generation then keeps every later table, and whatever was
 * in it, until the next major collection: each scavenge copies what some hundred finished requests have made, three times the
 * work of a replay's garbage collection. A copy has no such table before it.
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
    if (++this.deletions > MOVE_AFTER_DELETIONS + 4 * this.entries.size) {
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
