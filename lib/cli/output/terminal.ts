import { styleText } from 'node:util';
import type { WriteStream } from 'node:tty';

export type Style = Parameters<typeof styleText>[0];

/** Control characters, except tabs, the ends of lines, and the sequences that {@link Terminal.style} writes. */
// oxlint-disable-next-line no-control-regex
const COMMANDS = /(?!\x1b\[(?:[01]|22|3[1-9])m|\r(?:\x1b\[39m)?\n)[\0-\x08\x0b-\x1f\x7f-\x9f]/g;

/** Escapes what would command the terminal: records have texts of clients, and of everyone who can write to the table. */
function harmless(text: string): string {
  return text.replace(COMMANDS, (character) => `\\x${hexOf(character)}`);
}

/** What `JSON.stringify()` leaves as it is, and some terminals take for the beginning of a command. */
const LEFT_BY_JSON = /[\x7f-\x9f]/g;

/** Returns the code of a character below U+0100, as two digits. */
export function hexOf(character: string): string {
  return character.charCodeAt(0).toString(16).padStart(2, '0');
}

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
    this.stdout.write(`${harmless(text)}\n`);
  }

  json(value: unknown): void {
    const json = JSON.stringify(value, undefined, 2);
    this.print(json.replace(LEFT_BY_JSON, (character) => `\\u00${hexOf(character)}`));
  }

  note(text: string): void {
    this.stderr.write(`${harmless(this.clean(text))}\n`);
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
