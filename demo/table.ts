/** A table of text: the first column to the left, the others to the right. */
import { paint, write } from './screen.js'

export function writeTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]!.length)),
  )
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
      .join('   ')
      .trimEnd()
  write(`  ${paint('dim', line(head))}`)
  for (const row of rows) write(`  ${line(row)}`)
}
