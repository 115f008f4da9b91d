/** The JSON Trace Event format, which ui.perfetto.dev and chrome://tracing open. */
import type { Lane } from './layout.js'
import type { Piece } from './pieces.js'

/** One event of the format. Times are in microseconds. */
export interface TraceEvent {
  /** `X` has a duration, `i` is a moment, and `M` names a process or a thread. */
  readonly ph: 'X' | 'i' | 'M'
  readonly name: string
  readonly cat?: string
  /** Always 1: the manager. */
  readonly pid: number
  /** A row of a lane. */
  readonly tid: number
  readonly ts: number
  readonly dur?: number
  /** Of a moment: it belongs to its row. */
  readonly s?: 't'
  readonly args: Readonly<Record<string, unknown>>
}

/** What `JSON.stringify` makes a file of. */
export interface TraceEvents {
  readonly displayTimeUnit: 'ms'
  readonly traceEvents: readonly TraceEvent[]
}

const PID = 1
/** Of the first row, the connection's: viewers take the thread that has its process's number for the main one. */
const FIRST_TID = PID

export function toTraceEvents(name: string, lanes: readonly Lane[]): TraceEvents {
  const rows = lanes.flatMap((lane) => lane.rows.map((pieces, row) => ({ lane, pieces, row })))
  const traceEvents = rows.flatMap(({ lane, pieces, row }, index) => {
    const tid = FIRST_TID + index
    return [
      nameOf('thread_name', tid, { name: lane.rows.length > 1 ? `${lane.name} (${row + 1})` : lane.name }),
      nameOf('thread_sort_index', tid, { sort_index: index }),
      ...pieces.map((piece) => eventOf(piece, tid)),
    ]
  })
  return { displayTimeUnit: 'ms', traceEvents: [nameOf('process_name', FIRST_TID, { name }), ...traceEvents] }
}

function nameOf(name: string, tid: number, args: TraceEvent['args']): TraceEvent {
  return { ph: 'M', name, pid: PID, tid, ts: 0, args }
}

function eventOf({ item, start, end, isTail }: Piece, tid: number): TraceEvent {
  const { kind, title, label, mark, failed, facts } = item
  const known = { label, mark, ...facts, error: failed === null ? null : `${failed.name}: ${failed.message}` }
  const args = Object.fromEntries(Object.entries(known).filter(([, value]) => value !== null))
  // The connection may have been open before the recording began.
  const ts = toMicros(Math.max(0, start))
  const common = { name: isTail ? `${title} (after the turn)` : title, cat: kind, pid: PID, tid, ts, args }
  if (kind === 'event') return { ph: 'i', s: 't', ...common }
  return { ph: 'X', dur: toMicros(end) - ts, ...common }
}

/** Whole ones, so that what lies inside of something else still does when it is rounded. */
function toMicros(millis: number): number {
  return Math.round(millis * 1_000)
}
