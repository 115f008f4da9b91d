/**
 * Records what a manager does, and shows it: as a page of its own, or in the format of trace viewers.
 *
 * @module pg-managed-connection/timeline
 */
import { Timeline } from './timeline.js'
import type { Manager } from '../index.js'

export type { Timeline }
export type { TraceEvent, TraceEvents } from './trace-events.js'

/** Options of `record`. */
export interface RecordOptions {
  /** How many items are kept; the oldest give way to new ones. An integer from 1. Default: 10,000. */
  readonly capacity?: number | undefined
}

const CAPACITY = 10_000

/**
 * Records what a manager does until it is told to stop: that of the owner's thread, or a worker's, of which the channels
 * tell, and no events. It takes some time of each statement, so record while you look for something.
 *
 * @throws TypeError for what is no manager; RangeError for a capacity that is no integer from 1
 *
 * ```ts
 * import { writeFileSync } from 'node:fs'
 * import { record } from 'pg-managed-connection/timeline'
 *
 * using timeline = record(manager, { capacity: 50_000 })
 * await manager.transaction((connection) => connection.query('SELECT 1'), { label: 'import' })
 * writeFileSync('timeline.html', timeline.toHTML())
 * ```
 */
export function record(manager: Manager, { capacity = CAPACITY }: RecordOptions = {}): Timeline {
  if (typeof manager?.transaction !== 'function') throw new TypeError('record() takes a manager')
  if (!Number.isSafeInteger(capacity) || capacity < 1) {
    throw new RangeError(`capacity must be an integer from 1, and is ${String(capacity)}`)
  }
  return new Timeline(manager, capacity)
}
