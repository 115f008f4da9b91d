/** The results as a table, for the terminal and for a page. */
import { countSkipped, type CellResult } from './results.js'

const COLUMNS = ['cell', 'runtime', 'PostgreSQL', '`pg`', 'passed', 'failed', 'left out'] as const
const GAP = '   '

/** For the terminal: the seconds, too, which on a page would change with each run. */
export function textTable(results: readonly CellResult[]): string {
  const head = [...COLUMNS.map((title) => title.replaceAll('`', '')), 'seconds']
  const rows = [head, ...results.map((result) => [...cellsOf(result), String(result.seconds)])]
  const widths = head.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows.map((row) => row.map((cell, column) => pad(cell, widths[column]!, column)).join(GAP)).join('\n')
}

/** As the formatter would write it. */
export function markdownTable(results: readonly CellResult[]): string {
  const rows = [COLUMNS, ...results.map(cellsOf)]
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  const rule = widths.map((width, column) =>
    isNumber(column) ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width),
  )
  const [head, ...body] = rows.map((row) =>
    line(row.map((cell, column) => pad(cell, widths[column]!, column))),
  )
  return [head, line(rule), ...body].join('\n')
}

/** Why tests were left out, the most frequent reason first, each with the cells where it holds. */
export function reasonLines(results: readonly CellResult[]): string[] {
  const reasons = [...new Set(results.flatMap(({ skipped }) => Object.keys(skipped)))]
  const where = (reason: string): string[] =>
    results
      .filter(({ skipped }) => reason in skipped)
      .map(({ name, skipped }) => `${skipped[reason]} on ${name}`)
  return reasons.map((reason) => `- ${reason}: ${where(reason).join(', ')}`)
}

function cellsOf(result: CellResult): string[] {
  const { name, versions, passed, failed } = result
  const counts = [passed, failed, countSkipped(result)].map(String)
  return [name, versions.runtime, versions.postgres, versions.pg, ...counts]
}

function isNumber(column: number): boolean {
  return column >= COLUMNS.indexOf('passed')
}

function pad(text: string, width: number, column: number): string {
  return isNumber(column) ? text.padStart(width) : text.padEnd(width)
}
