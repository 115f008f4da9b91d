/** Breaks text into lines that a terminal has room for. */

/** After these a long word is broken: what is a URI, a path or a list stays readable. */
const BREAKABLE = /[/,;&?=:@._-]/

/**
 * Breaks long lines between words, and a word that is longer than a line inside. A line that is indented is to be
 * copied, and left alone.
 */
export function wrap(text: string, width: number): string[] {
  return text.split('\n').flatMap((line) => (line.startsWith(' ') ? [line] : wrapLine(line, width)))
}

function wrapLine(line: string, width: number): string[] {
  const lines: string[] = []
  let last = ''
  for (const piece of line.split(' ').flatMap((word) => breakWord(word, width))) {
    const joined = last === '' ? piece : `${last} ${piece}`
    if (joined.length > width) {
      lines.push(last)
      last = piece
    } else last = joined
  }
  return [...lines, last]
}

function breakWord(word: string, width: number): string[] {
  const pieces: string[] = []
  let rest = word
  while (rest.length > width) {
    const at = lastBreak(rest.slice(0, width)) ?? width
    pieces.push(rest.slice(0, at))
    rest = rest.slice(at)
  }
  return [...pieces, rest]
}

/** Where the last piece may end; a very short piece is not worth it. */
function lastBreak(text: string): number | undefined {
  for (let at = text.length; at > text.length / 2; at--) {
    if (BREAKABLE.test(text[at - 1]!)) return at
  }
  return undefined
}

/** The first line behind `head`, the others below it. */
export function hang(head: string, text: string, width: number): string[] {
  const indent = ' '.repeat(head.length)
  return wrap(text, width - head.length).map((line, index) => `${index === 0 ? head : indent}${line}`)
}
