/** Replaces the names beyond the limit, as OpenTelemetry's own conventions have it. */
const OTHER = '_OTHER';

/** Lets so many distinct names through: a metric's attribute must not have as many values as there are requests. */
export class BoundedNames {
  private readonly known = new Set<string>();

  constructor(private readonly limit: number) {}

  of(name: string): string {
    if (this.known.has(name)) return name;
    if (this.known.size >= this.limit) return OTHER;
    this.known.add(name);
    return name;
  }
}
