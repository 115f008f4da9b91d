/**
 * The rules of the Trace Event format for what a timeline makes of it, each with the place where it is written down:
 *
 * - the format: "Trace Event Format", docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
 * - Perfetto: "Visualizing external trace formats with Perfetto", docs/getting-started/other-formats.md in its repository
 */
import assert from 'node:assert/strict'
import type { TraceEvent } from 'pg-managed-connection/timeline'

/** As a viewer gets it: from a file. */
export type Written = Record<string, unknown>

/** The kinds of events that there may be. Each that is used is checked, and no other may be used. */
const CHECKS: Readonly<Record<TraceEvent['ph'], (event: Written) => void>> = {
  // The format, "Complete Events": a duration in microseconds.
  X: ({ dur }) => assert.ok(isTime(dur), 'dur'),
  // The format, "Instant Events": the scope is global, of the process or of the thread; I is an old name of theirs.
  i: ({ s }) => assert.ok(['g', 'p', 't'].includes(s as string), 's'),
  // The format, "Metadata Events": names have args.name, orders have args.sort_index.
  M: ({ name, args }) => {
    const { name: given, sort_index: index } = args as Written
    if (/^(?:process|thread)_name$/.test(String(name))) assert.ok(typeof given === 'string' && given !== '')
    else if (/^(?:process|thread)_sort_index$/.test(String(name))) assert.ok(Number.isInteger(index))
    else assert.fail(`metadata of the name ${String(name)}`)
  },
}

/** The whole file. */
export function assertWellFormed(json: string): readonly Written[] {
  const file = JSON.parse(json) as { displayTimeUnit?: unknown; traceEvents?: unknown }
  // The format, "JSON Object Format": an array traceEvents; times are displayed in ms or ns.
  assert.ok(Array.isArray(file.traceEvents))
  assert.ok(['ms', 'ns'].includes(file.displayTimeUnit as string))
  const events = file.traceEvents as readonly Written[]
  for (const event of events) assertEvent(event)
  assertNested(events)
  return events
}

function assertEvent(event: Written): void {
  const { name, cat, ph, ts, pid, tid, args } = event
  const told = JSON.stringify(event)
  // The format, "Event Descriptions": these are there in all events; cat has categories with commas between them.
  assert.ok(typeof name === 'string' && name !== '', told)
  assert.ok(ph === 'M' || /^[^,]+(?:,[^,]+)*$/.test(cat as string), told)
  assert.ok(isTime(ts), told)
  // Perfetto keeps them in 32 bits, and takes thread 0 for the idle one where it reads traces of a whole system.
  for (const id of [pid, tid]) assert.ok(isID(id), told)
  assert.ok(typeof args === 'object' && args !== null && !Array.isArray(args), told)
  const check = CHECKS[ph as TraceEvent['ph']] as ((event: Written) => void) | undefined
  assert.ok(check !== undefined, told)
  check(event)
}

/** In microseconds, from the beginning on. */
function isTime(value: unknown): boolean {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

function isID(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) > 0 && (value as number) < 2 ** 32
}

/**
 * The format, "Duration Events", and Perfetto, "Important Notes": what lasts on one thread lies beside or inside of each
 * other, and overlaps nowhere else. Of two that begin together, the one that is written first is the outer.
 */
function assertNested(events: readonly Written[]): void {
  const ends = new Map<unknown, number[]>()
  const lasting = (events as unknown as readonly TraceEvent[]).filter(({ ph }) => ph === 'X')
  for (const { tid, ts, dur, name } of lasting.toSorted((a, b) => a.ts - b.ts)) {
    const around = ends.get(tid) ?? []
    while (around.length > 0 && around.at(-1)! <= ts) around.pop()
    const end = ts + dur!
    assert.ok(around.length === 0 || end <= around.at(-1)!, `"${name}" outlives what it is drawn in`)
    ends.set(tid, [...around, end])
  }
}
