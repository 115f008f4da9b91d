/** The colours of the page's style, for the picture: light or dark as the reader's system has it. */

const NAMES = [
  ...['paper', 'ink', 'faint', 'line', 'band', 'accent'],
  ...['wait', 'hold', 'transaction', 'statement', 'statement-ink', 'tail', 'opening', 'connection'],
  ...['bad', 'warn', 'good'],
] as const

export type ColourName = (typeof NAMES)[number]
export type Colours = Readonly<Record<ColourName, string>>

export function readColours(): Colours {
  const style = getComputedStyle(document.documentElement)
  return Object.fromEntries(
    NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]),
  ) as Colours
}
