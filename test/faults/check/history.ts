import type { Answer, Claimed, Entry, Fault, Operation } from '../history/entry.js';

type OfKind<K extends Entry['kind']> = Extract<Entry, { kind: K }>;

/** A history, by kind, operation and record. */
export class History {
  readonly operations: readonly Operation[];
  private readonly byKind = new Map<string, Entry[]>();
  private readonly byOp = new Map<string, Entry[]>();
  private readonly byRecord = new Map<string, Entry[]>();
  /** The operation that was last asked about, as rules are asked about one after the other. */
  private latest: { readonly operation: Operation; readonly said: Map<string, Entry[]> } | undefined;

  /** @param entries in the order of time */
  constructor(readonly entries: readonly Entry[]) {
    for (const entry of entries) {
      push(this.byKind, entry.kind, entry);
      if ('op' in entry) push(this.byOp, entry.op, entry);
      if ('record' in entry) push(this.byRecord, entry.record, entry);
    }
    this.operations = this.all('operation');
  }

  all<K extends Entry['kind']>(kind: K): OfKind<K>[] {
    return (this.byKind.get(kind) ?? []) as OfKind<K>[];
  }

  /** What was said of an operation, or of its record. */
  of<K extends Entry['kind']>(operation: Operation, kind: K): OfKind<K>[] {
    if (this.latest?.operation !== operation) this.latest = { operation, said: this.sort(operation) };
    return [...(this.latest.said.get(kind) ?? [])] as OfKind<K>[];
  }

  private sort({ op, record }: Operation): Map<string, Entry[]> {
    const said = new Map<string, Entry[]>();
    for (const entry of this.byOp.get(op) ?? []) push(said, entry.kind, entry);
    for (const entry of this.byRecord.get(record) ?? []) if (!('op' in entry)) push(said, entry.kind, entry);
    return said;
  }

  /** When the last was said that was said. */
  get end(): number {
    return this.entries.at(-1)?.at ?? 0;
  }

  /** Faults, and when they were over: at once, where they have no length, and never, where that was not said. */
  get faults(): readonly (Fault & { readonly end: number })[] {
    const ends = new Map(this.all('fault over').map(({ number, at }) => [number, at]));
    return this.all('fault').map((fault) => {
      const end = fault.number === undefined ? fault.at : (ends.get(fault.number) ?? Infinity);
      return { ...fault, end };
    });
  }

  /** The claims that were won, each once. */
  claims(operation: Operation): Claimed[] {
    const said = this.of(operation, 'claimed');
    return said.filter(
      (claim, i) => said.findIndex(({ owner, token }) => owner === claim.owner && token === claim.token) === i,
    );
  }

  /** The definitive answers to an operation. */
  answers(operation: Operation): Answer[] {
    return this.of(operation, 'answer').filter((answer) => answer.definitive && !answer.misuse);
  }

  /** Everything that was said of an operation and its record, in the order of time. */
  story({ op, record }: Operation): Entry[] {
    return this.entries.filter(
      (entry) => ('op' in entry && entry.op === op) || ('record' in entry && entry.record === record),
    );
  }
}

function push(map: Map<string, Entry[]>, key: string, entry: Entry): void {
  const entries = map.get(key);
  if (entries) entries.push(entry);
  else map.set(key, [entry]);
}
