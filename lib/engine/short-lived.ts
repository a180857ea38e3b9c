/**
 * How many deletions more than there are entries move the entries to a new table. V8 would rebuild the old one at about the same time,
 * so that a deletion costs the copy of one entry at most.
 */
const MOVE_AFTER_DELETIONS = 32;

/**
 * A Map for entries that come and go with requests. A plain Map triples the garbage collection of a replay.
 *
 * V8 rebuilds the table of a Map that is full of deleted entries, and keeps a pointer from the old table to the new one for iterators.
 * An old table in the old generation therefore keeps every later table alive, with the data of finished requests, until the next major
 * collection. Each scavenge copies all of it. A new Map has no earlier table.
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

  /** Iterates in insertion order, without entries that are deleted meanwhile. */
  *[Symbol.iterator](): Generator<[K, V]> {
    for (const entry of this.entries) if (this.entries.has(entry[0])) yield entry;
  }
}
