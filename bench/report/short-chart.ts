/** The chart of README.md: two rows of the results, and three ways in each. A full run writes it to docs/. */
import type { EntryResult, Results, RowResult } from '../results.js'
import { FONT, PALETTE, text } from './chart.js'
import { conditions, count } from './format.js'

/** Which rows, and which of their entries. */
const SHOWN: Readonly<Record<string, readonly string[]>> = {
  query: ['pg-managed-connection', 'postgres.js max: 1', 'pg.Pool max: 1'],
  transaction: ['pg-managed-connection', 'pg.Pool max: 1', 'postgres.js max: 1, begin'],
}

const WIDTH = 720
const MARGIN = 20
const BARS_AT = 200
const LONGEST = 410
const BAR_HEIGHT = 18
const LINE = 26
const GROUP_GAP = 14

const STYLE = `
  text { font: 14px ${FONT} }
  .group { font-weight: 600 }
  .quiet, .aside { font-size: 13px; font-weight: 400 }
${PALETTE}`

export function drawShortChart({ environment, rows }: Results): string {
  const body: string[] = []
  let y = MARGIN
  for (const [id, names] of Object.entries(SHOWN)) {
    const row = rows.find((each) => each.id === id)
    if (row === undefined) throw new Error(`the results have no row "${id}"`)
    body.push(drawGroup(row, names, y))
    y += LINE * (names.length + 1) + GROUP_GAP
  }
  const { date, cpuCount, versions } = environment
  const about = `${date.slice(0, 10)}, ${cpuCount} cores, Unix socket, PostgreSQL ${versions['PostgreSQL']}, Node ${versions['node']}. Each group has a scale of its own.`
  body.push(text('quiet', MARGIN, y + 8, about))
  const height = y + 8 + MARGIN
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-labelledby="t">`,
    '<title id="t">Operations per second of 64 tasks on one connection</title>',
    `<style>${STYLE}</style>`,
    `<rect class="paper" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="8"/>`,
    ...body,
    '</svg>\n',
  ].join('\n')
}

function drawGroup(row: RowResult, names: readonly string[], top: number): string {
  const entries = names.map((name) => entryOf(row, name))
  const fastest = Math.max(...entries.map(({ median }) => median))
  const title = text('group', MARGIN, top + 14, `${row.title}: ${conditions(row)}`)
  return [
    title,
    ...entries.map((entry, index) => drawBar(entry, index, top + LINE * (index + 1), fastest)),
  ].join('\n')
}

function drawBar({ name, median }: EntryResult, index: number, top: number, fastest: number): string {
  const length = Math.round((median / fastest) * LONGEST)
  const baseline = top + BAR_HEIGHT - 4
  const style = index === 0 ? 'ours' : 'other'
  return [
    text('', MARGIN, baseline, name),
    `<rect class="${style}" x="${BARS_AT}" y="${top}" width="${length}" height="${BAR_HEIGHT}" rx="2"/>`,
    text('', BARS_AT + length + 8, baseline, count(median)),
  ].join('')
}

function entryOf({ id, entries }: RowResult, name: string): EntryResult {
  const entry = entries.find((each) => each.name === name)
  if (entry === undefined) throw new Error(`the row "${id}" has no entry "${name}"`)
  return entry
}
