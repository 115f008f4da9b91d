/**
 * OpenTelemetry's metrics and spans of databases, by its semantic conventions.
 *
 * @module pg-managed-connection/otel
 */
import { metrics, trace, type Meter, type Tracer } from '@opentelemetry/api'
import { observe, record } from './metrics.js'
import { SPANS, Traces, type SpanName } from './traces.js'
import type { Manager } from '../index.js'

export type { SpanName }

/** Options of `instrument`. */
export interface InstrumentOptions {
  /**
   * `db.client.connection.pool.name`: tells this manager from others. Default: its connection string, with every
   * password shown as `***`.
   */
  readonly name?: string | undefined
  /** Whether there are metrics. Default: true. */
  readonly metrics?: boolean | undefined
  /**
   * Whether there are spans, or of what alone. With `@opentelemetry/instrumentation-pg` beside it, which makes spans of
   * statements as well: `['wait', 'hold', 'transaction']`. Default: true, of all.
   */
  readonly traces?: boolean | readonly SpanName[] | undefined
  /** What the metrics are made with. Default: the meter `pg-managed-connection` of the global provider. */
  readonly meter?: Meter | undefined
  /** What the spans are made with. Default: the tracer `pg-managed-connection` of the global provider. */
  readonly tracer?: Tracer | undefined
}

/** A manager that is being watched; call it, or dispose of it, to stop. */
export interface Instrumentation extends Disposable {
  (): void
}

/**
 * Measures and traces a manager by OpenTelemetry's semantic conventions until it is told to stop: that of the owner's
 * thread, or a worker's.
 *
 * ```ts
 * import { instrument } from 'pg-managed-connection/otel'
 *
 * const stop = instrument(manager, { name: 'bank' })
 * await manager.end()
 * stop()
 * ```
 */
export function instrument(manager: Manager, options: InstrumentOptions = {}): Instrumentation {
  if (typeof manager?.transaction !== 'function') throw new TypeError('instrument() takes a manager')
  const { name = String(manager), metrics: hasMetrics = true, traces = true } = options
  const { meter = metrics.getMeter('pg-managed-connection') } = options
  const { tracer = trace.getTracer('pg-managed-connection') } = options
  const pool = { 'db.client.connection.pool.name': name }
  const stops: (() => void)[] = []
  if (hasMetrics) stops.push(observe(manager, meter, pool), record(manager, meter, pool))
  if (traces !== false) stops.push(new Traces(manager, tracer).start(traces === true ? SPANS : traces))
  const stop = (): void => stops.splice(0).forEach((one) => one())
  return Object.assign(stop, { [Symbol.dispose]: stop })
}
