/** The results as bars: one group for each row, every bar in proportion to the longest of its group. */
import type { EntryResult, Results, RowResult } from '../results.js'
import { conditions, count, describe, ratio } from './format.js'

const WIDTH = 900
const MARGIN = 24
/** Where the bars begin, and how long the longest is. */
const BARS_AT = 270
const LONGEST = 310
const BAR_HEIGHT = 14
const LINE = 20
const GROUP_GAP = 16
const HEADER = 78
const FOOTER_LINE = 16

export const FONT =
  'ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif'

// A background of its own, so that it can be read wherever it is shown; the reader's scheme picks the colours.
export const PALETTE = `
  .paper { fill: #ffffff; stroke: #d0d7de }
  text { fill: #1f2328 }
  .quiet, .aside { fill: #59636e }
  .ours { fill: #0969da }
  .other { fill: #afb8c1 }
  .met { fill: #1a7f37 }
  .missed { fill: #cf222e }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; stroke: #30363d }
    text { fill: #e6edf3 }
    .quiet, .aside { fill: #9198a1 }
    .ours { fill: #4493f8 }
    .other { fill: #57606a }
    .met { fill: #3fb950 }
    .missed { fill: #f85149 }
  }
`

const STYLE = `
  text { font: 12px ${FONT} }
  .title { font-size: 18px; font-weight: 600 }
  .group { font-size: 13px; font-weight: 600 }
  .aside { font-size: 12px; font-weight: 400 }
${PALETTE}`

export function drawChart(results: Results): string {
  const body: string[] = []
  let y = HEADER
  for (const row of results.rows) {
    body.push(drawGroup(row, y))
    y += LINE * (row.entries.length + 1) + GROUP_GAP
  }
  const { footprint } = results
  if (footprint !== null) {
    body.push(
      text('group', MARGIN, y + 12, `${count(footprint.bytes.median)} bytes of heap per pending acquire()`),
    )
    const wanted = `wanted: at most ${footprint.target} ${mark(footprint.met)}`
    body.push(text(footprint.met ? 'met' : 'missed', BARS_AT + LONGEST + 170, y + 12, wanted))
    y += LINE + GROUP_GAP
  }
  const footer = describe(results)
  footer.forEach((line, index) => body.push(text('quiet', MARGIN, y + (index + 1) * FOOTER_LINE, line)))
  return page(body, y + (footer.length + 1) * FOOTER_LINE)
}

function page(body: readonly string[], height: number): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-labelledby="t">`,
    `<title id="t">How fast one connection is, shared in different ways</title>`,
    `<style>${STYLE}</style>`,
    `<rect class="paper" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="8"/>`,
    text('title', MARGIN, 36, 'One connection, shared in different ways'),
    text(
      'quiet',
      MARGIN,
      56,
      'Longer is faster. Each group has its own scale. “3.1 ×”: we are 3.1 times as fast as this one.',
    ),
    ...body,
    '</svg>\n',
  ].join('\n')
}

function drawGroup(row: RowResult, top: number): string {
  const fastest = Math.max(...row.entries.map(({ median }) => median))
  const about = `<tspan class="aside" dx="8">${escape(conditions(row))}</tspan>`
  const title = `<text class="group" x="${MARGIN}" y="${top + 12}">${escape(row.title)}${about}</text>`
  const bars = row.entries.map((entry, index) => drawBar(row, entry, top + LINE * (index + 1), fastest))
  return [title, ...bars].join('\n')
}

function drawBar({ kind, entries }: RowResult, entry: EntryResult, top: number, fastest: number): string {
  const length = Math.max(1, Math.round((entry.median / fastest) * LONGEST))
  const ours = kind === 'growth' || entry === entries[0] || entry.ours
  const baseline = top + BAR_HEIGHT - 3
  const parts = [
    text('', MARGIN, baseline, entry.name),
    `<rect class="${ours ? 'ours' : 'other'}" x="${BARS_AT}" y="${top}" width="${length}" height="${BAR_HEIGHT}" rx="2"/>`,
    text('', BARS_AT + length + 8, baseline, count(entry.median)),
  ]
  if (entry.comparison !== null) parts.push(drawComparison(kind, entry.comparison, baseline))
  return parts.join('')
}

function drawComparison(
  kind: RowResult['kind'],
  { ratio: { median }, target, met }: NonNullable<EntryResult['comparison']>,
  y: number,
): string {
  const x = BARS_AT + LONGEST + 70
  const said = kind === 'race' ? `${ratio(median)} ×` : `${ratio(median)} of the first`
  const wanted = target === null || met === null ? '' : `wanted: ${Number(target.toFixed(2))} ${mark(met)}`
  return text('', x, y, said) + (wanted && text(met ? 'met' : 'missed', x + 100, y, wanted))
}

function mark(met: boolean): string {
  return met ? '✓' : '✗'
}

export function text(style: string, x: number, y: number, content: string): string {
  return `<text${style && ` class="${style}"`} x="${x}" y="${y}">${escape(content)}</text>`
}

function escape(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
