/** The table as Markdown, to be read beside the chart. */
import type { Results } from '../results.js'
import { cellsOf, COLUMNS, conditions, describe, footprintCells } from './format.js'

export function markdownTable(results: Results, chart: string): string {
  const lines = ['# Results', '', `![The same as a chart](${chart})`, '']
  for (const line of describe(results)) lines.push(`- ${line}`)
  for (const note of results.notes) lines.push(`- note: ${note}`)
  lines.push('', row(COLUMNS), row(COLUMNS.map((_, column) => (column === 0 ? '---' : '---:'))))
  for (const result of results.rows) {
    lines.push(row([`**${result.title}** (${conditions(result)})`, '', '', '', '', '']))
    for (const entry of result.entries) lines.push(row(cellsOf(entry)))
  }
  if (results.footprint !== null) {
    lines.push(row(['**memory**', '', '', '', '', '']), row(footprintCells(results.footprint)))
  }
  return `${lines.join('\n')}\n`
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`
}
