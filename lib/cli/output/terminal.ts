import { styleText } from 'node:util';
import type { WriteStream } from 'node:tty';

export type Style = Parameters<typeof styleText>[0];

/** The output of one call: results go to stdout, everything else to stderr, so that scripts can parse stdout. */
export class Terminal {
  constructor(
    private readonly stdout: NodeJS.WriteStream,
    private readonly stderr: NodeJS.WriteStream,
    private readonly env: NodeJS.ProcessEnv,
    /** Takes secrets out of the messages of drivers and applications. */
    readonly clean: (text: string) => string = (text) => text,
  ) {}

  redacting(clean: (text: string) => string): Terminal {
    return new Terminal(this.stdout, this.stderr, this.env, clean);
  }

  print(text: string): void {
    this.stdout.write(`${text}\n`);
  }

  json(value: unknown): void {
    this.print(JSON.stringify(value, undefined, 2));
  }

  note(text: string): void {
    this.stderr.write(`${this.clean(text)}\n`);
  }

  /** Colours a text, unless stdout is a file or a pipe, or NO_COLOR (no-color.org) is set. */
  style(format: Style, text: string): string {
    return this.stdout.isTTY && !this.env.NO_COLOR ? styleText(format, text, { validateStream: false }) : text;
  }

  /** The width of stdout; infinite where it is no terminal, so that what is searched for is on one line. */
  get columns(): number {
    return this.stdout.isTTY ? this.stdout.columns : Infinity;
  }

  /** Returns the terminal to draw progress on, if stderr is one. */
  get drawable(): WriteStream | undefined {
    return this.stderr.isTTY ? this.stderr : undefined;
  }
}
