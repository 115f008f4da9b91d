/** A recording of what a manager does, and the forms in which it can be looked at. */
import { clock } from '../util/clock.js'
import { toPage } from './html.js'
import { layOut, type Lane } from './layout.js'
import { toPageData } from './page-data.js'
import { Recorder } from './recorder.js'
import { summarize } from './summary.js'
import { toTraceEvents, type TraceEvents } from './trace-events.js'
import { shown } from './words.js'
import type { Item, Period } from './items.js'
import type { Manager } from '../index.js'

/** A recording of what a manager does, from `record` on. */
export class Timeline implements Disposable {
  /** How many items are kept; the oldest give way to new ones. */
  readonly capacity: number
  readonly #name: string
  readonly #startedAt = new Date(clock.wallNow())
  readonly #recorder: Recorder

  /** @internal */
  constructor(manager: Manager, capacity: number) {
    this.capacity = capacity
    this.#name = shown(String(manager))
    this.#recorder = new Recorder(manager, capacity)
    this.#recorder.start()
  }

  /** How many items are kept: waits, turns, transactions, statements, and what happened to the connection. */
  get size(): number {
    return this.#recorder.size
  }

  /** How many items had to give way to newer ones. */
  get dropped(): number {
    return this.#recorder.dropped
  }

  /** Records nothing more; what was recorded stays. What goes on at this moment is shown as going on. */
  stop(): void {
    this.#recorder.stop()
  }

  /** The same as `stop`. */
  [Symbol.dispose](): void {
    this.stop()
  }

  /**
   * A page that shows it: one file, which needs nothing else and no network. It has the texts of statements, and their
   * parameters with the manager's option `traceValues`, so treat it as you treat a log that has them.
   *
   * ```ts
   * import { writeFileSync } from 'node:fs'
   * import { record } from 'pg-managed-connection/timeline'
   *
   * const timeline = record(manager)
   * await manager.query('SELECT 1')
   * writeFileSync('timeline.html', timeline.toHTML())
   * timeline.stop()
   * ```
   */
  toHTML(): string {
    const { items, lanes, period } = this.#look()
    const heading = { name: this.#name, startedAt: this.#startedAt, dropped: this.dropped }
    return toPage(heading, summarize(items, period), toPageData(lanes, period))
  }

  /**
   * The same in the JSON Trace Event format, for ui.perfetto.dev or chrome://tracing.
   *
   * ```ts
   * import { writeFileSync } from 'node:fs'
   * import { record } from 'pg-managed-connection/timeline'
   *
   * const timeline = record(manager)
   * await manager.query('SELECT 1')
   * writeFileSync('timeline.json', JSON.stringify(timeline.toTraceEvents()))
   * timeline.stop()
   * ```
   */
  toTraceEvents(): TraceEvents {
    return toTraceEvents(this.#name, this.#look().lanes)
  }

  #look(): { items: readonly Item[]; lanes: Lane[]; period: Period } {
    const period = this.#recorder.period
    const items = this.#recorder.items()
    return { items, lanes: layOut(items, period.to), period }
  }
}
