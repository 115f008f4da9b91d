/** Numbers and sentences as the table, the Markdown and the chart show them. */
import type { Comparison, EntryResult, Results, RowResult } from '../results.js'

export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

export function ratio(value: number): string {
  return value.toFixed(2)
}

/** What the row is about, with what is special in it. */
export function conditions({ tasks, delayMillis, kind, unit, entries }: RowResult): string {
  const alike = entries.every((entry) => entry.tasks === tasks)
  const asking = kind === 'growth' && !alike ? '' : `, ${tasks} task${tasks === 1 ? '' : 's'}`
  const distance = delayMillis === 0 ? '' : `, TCP, ${2 * delayMillis} ms round trip`
  return `${unit} per second${asking}${distance}`
}

/** Targets such as 1 / 1.2 are not shown with all their digits. */
function targetOf({ target }: Comparison): string {
  return target === null ? '' : `>= ${Number(target.toFixed(2))}`
}

function verdictOf({ met }: Comparison): string {
  return met === null ? '' : met ? 'met' : 'MISSED'
}

/** The cells of an entry: name, rate, ratio, spread of the ratio, target, verdict. */
export function cellsOf({ name, median, comparison }: EntryResult): string[] {
  if (comparison === null) return [name, count(median), '', '', '', '']
  const { low, median: middle, high } = comparison.ratio
  const spread = `${ratio(low)} to ${ratio(high)}`
  return [name, count(median), ratio(middle), spread, targetOf(comparison), verdictOf(comparison)]
}

export const COLUMNS = ['', 'per second', 'ratio', 'low to high', 'target', '']

/** The cells of the memory that waiting takes; its figure is no ratio. */
export function footprintCells(footprint: NonNullable<Results['footprint']>): string[] {
  const { bytes, target, met } = footprint
  const spread = `${count(bytes.low)} to ${count(bytes.high)}`
  return [
    'bytes per pending acquire()',
    count(bytes.median),
    '',
    spread,
    `<= ${target}`,
    met ? 'met' : 'MISSED',
  ]
}

/** Machine and versions, a line each. */
export function describe({ environment, settings }: Results): string[] {
  const { date, cpu, cpuCount, memoryGigabytes, system, load, transport, versions } = environment
  const listed = Object.entries(versions).map(([name, version]) => `${name} ${version ?? '(none)'}`)
  return [
    `${date.slice(0, 16).replace('T', ' ')} UTC · ${cpuCount} × ${cpu}, ${memoryGigabytes} GB · ${system}`,
    listed.join(' · '),
    `${transport} · medians of ${settings.rounds} rounds of ${settings.sampleMillis} ms · load before: ${load.toFixed(1)}`,
  ]
}
