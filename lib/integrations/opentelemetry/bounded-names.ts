/** Replaces names beyond the limit, as in OpenTelemetry's semantic conventions. */
const OTHER = '_OTHER';

/** Limits the distinct values of a metric's attribute: unlimited, each request could create a time series. */
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
