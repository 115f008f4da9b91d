/** The table as text, for the terminal. */
import type { Results } from '../results.js'
import { cellsOf, COLUMNS, conditions, describe, footprintCells } from './format.js'

const GAP = '   '

export function textTable(results: Results): string {
  const groups = results.rows.map((row) => ({
    title: `${row.title} (${conditions(row)})`,
    rows: row.entries.map(cellsOf),
  }))
  if (results.footprint !== null) {
    groups.push({ title: 'memory', rows: [footprintCells(results.footprint)] })
  }
  const all = [COLUMNS, ...groups.flatMap(({ rows }) => rows)]
  const widths = COLUMNS.map((_, column) => Math.max(...all.map((cells) => cells[column]!.length)))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
      .join(GAP)
      .trimEnd()
  const blocks = groups.map(({ title, rows }) => [title, ...rows.map((row) => `  ${line(row)}`)].join('\n'))
  return [describe(results).join('\n'), `  ${line(COLUMNS)}`, ...blocks].join('\n\n')
}
