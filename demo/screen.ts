/** What the demo writes: in colour on a terminal, plain everywhere else, and never wider than the window. */
import { styleText } from 'node:util'

const { stdout, env } = process

/** Whether a line that was written can be written again. */
export const isTerminal = stdout.isTTY && env['TERM'] !== 'dumb'

const isColoured = isTerminal && !env['NO_COLOR']

type Style = 'bold' | 'dim' | 'green' | 'red' | 'cyan'

export function paint(style: Style, text: string): string {
  return isColoured ? styleText(style, text) : text
}

/** A number as people read it. */
export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

/** The width for text: that of the window, and no more than is pleasant to read. */
export function width(): number {
  return Math.min(stdout.columns || 88, 88)
}

export function write(line = ''): void {
  stdout.write(`${line}\n`)
}

/** The heading of a chapter. */
export function heading(title: string): void {
  write()
  write(paint('bold', title))
}

/** A paragraph. */
export function say(text: string): void {
  for (const line of wrap(text, width() - 2)) write(`  ${line}`)
}

/** What somebody else said, word for word but for the line breaks. */
export function quote(text: string): void {
  for (const line of wrap(text, width() - 6)) write(paint('cyan', `    | ${line}`))
}

/** A claim and whether it held. */
export function verdict(held: boolean, sentence: string): void {
  const mark = held ? paint('green', '    ok ') : paint('red', 'FAILED ')
  const [first = '', ...others] = wrap(sentence, width() - 7)
  write(`${mark}${first}`)
  for (const line of others) write(`       ${line}`)
}

function wrap(text: string, columns: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(/\s+/)) {
    if (line !== '' && line.length + 1 + word.length > columns) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}
