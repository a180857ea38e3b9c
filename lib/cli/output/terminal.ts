import { styleText } from 'node:util';
import type { WriteStream } from 'node:tty';

export type Style = Parameters<typeof styleText>[0];

/** Where a call's output goes: results to stdout, everything else to stderr. */
export class Terminal {
  constructor(
    private readonly stdout: NodeJS.WriteStream,
    private readonly stderr: NodeJS.WriteStream,
    private readonly env: NodeJS.ProcessEnv,
    /** Takes secrets out of a text that is not our own. */
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

  /** Colours are for people: none into files and pipes, nor where NO_COLOR (no-color.org) is set. */
  style(format: Style, text: string): string {
    return this.stdout.isTTY && !this.env.NO_COLOR ? styleText(format, text, { validateStream: false }) : text;
  }

  /** The terminal that progress can be drawn on, if stderr is one. */
  get drawable(): WriteStream | undefined {
    return this.stderr.isTTY ? this.stderr : undefined;
  }
}
