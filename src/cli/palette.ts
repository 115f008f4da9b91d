import type { WriteStream } from 'node:tty'
import { styleText } from 'node:util'

/** How the parts of a report look. */
export interface Palette {
  readonly heading: (text: string) => string
  readonly dim: (text: string) => string
  readonly good: (text: string) => string
  readonly bad: (text: string) => string
  readonly warning: (text: string) => string
}

type Format = Parameters<typeof styleText>[0]

/** Whether a stream is to be written to in colour: a terminal that has colours, unless the environment says no. */
export function wantsColor(stream: Partial<WriteStream>, env: NodeJS.ProcessEnv): boolean {
  if (env['NO_COLOR']) return false
  return stream.isTTY === true && stream.hasColors?.(env) === true
}

/** Colours, or none. */
export function makePalette(color: boolean): Palette {
  // It is decided already whether the stream takes colours.
  const paint = (format: Format) => (text: string) =>
    color && text !== '' ? styleText(format, text, { validateStream: false }) : text
  return {
    heading: paint('bold'),
    dim: paint('dim'),
    good: paint('green'),
    bad: paint('red'),
    warning: paint('yellow'),
  }
}
