/** What a process that was never ended holds after its garbage was collected, and how many operations came before. */
export interface MemorySample {
  readonly app: string;
  /** Operations that were asked for since the process began, of it and its siblings. */
  readonly operations: number;
  /** Seconds since the process began. */
  readonly seconds: number;
  /** In bytes. */
  readonly heap: number;
  readonly rss: number;
}

/** Of one process: what its memory did after it had warmed up. */
export interface MemoryTrend {
  readonly app: string;
  readonly samples: number;
  readonly operations: number;
  readonly minutes: number;
  readonly heap: Trend;
  readonly rss: Trend;
  /** `undefined`: it was watched for too short a time to say. */
  readonly grows: boolean | undefined;
}

interface Trend {
  /** Medians of the first and of the last third, in bytes. */
  readonly from: number;
  readonly to: number;
  /** Bytes an operation. */
  readonly slope: number;
  /** What the slope comes to over the operations that were watched, in bytes. */
  readonly growth: number;
}

/** Code is compiled, pools and caches fill. */
const WARM_UP_SECONDS = 60;
const FEWEST_SAMPLES = 8;
/** Growth below that is noise: what is under way at the moment of a measurement. In bytes, and as a part of the whole. */
const HEAP_NOISE = { bytes: 6 << 20, part: 0.1 };
/** The allocator keeps what one busy moment took. */
const RSS_NOISE = { bytes: 48 << 20, part: 0.25 };

/** Reads the trend of each process from its samples, which are in the order of time. */
export function trendsOf(samples: readonly MemorySample[]): MemoryTrend[] {
  const apps = [...new Set(samples.map(({ app }) => app))];
  return apps.map((app) =>
    trendOf(
      app,
      samples.filter((sample) => sample.app === app),
    ),
  );
}

function trendOf(app: string, all: readonly MemorySample[]): MemoryTrend {
  const warm = all.filter(({ seconds }) => seconds >= WARM_UP_SECONDS);
  const heap = fit(warm, ({ heap: bytes }) => bytes);
  const rss = fit(warm, ({ rss: bytes }) => bytes);
  const last = all.at(-1);
  return {
    app,
    samples: warm.length,
    operations: last?.operations ?? 0,
    minutes: (last?.seconds ?? 0) / 60,
    heap,
    rss,
    grows: warm.length < FEWEST_SAMPLES ? undefined : exceeds(heap, HEAP_NOISE) || exceeds(rss, RSS_NOISE),
  };
}

function exceeds({ from, growth }: Trend, noise: { bytes: number; part: number }): boolean {
  return growth > Math.max(noise.bytes, noise.part * from);
}

/** The median of the slopes between all pairs of samples (Theil and Sen): a single sample that is off does not change it. */
function fit(samples: readonly MemorySample[], of: (sample: MemorySample) => number): Trend {
  const slopes: number[] = [];
  for (const [i, a] of samples.entries()) {
    for (const b of samples.slice(i + 1)) {
      if (b.operations > a.operations) slopes.push((of(b) - of(a)) / (b.operations - a.operations));
    }
  }
  const third = Math.ceil(samples.length / 3);
  const slope = median(slopes);
  const watched = (samples.at(-1)?.operations ?? 0) - (samples[0]?.operations ?? 0);
  return {
    from: median(samples.slice(0, third).map(of)),
    to: median(samples.slice(-third).map(of)),
    slope,
    growth: slope * watched,
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
