/**
 * OpenTelemetry's metrics of a connection pool (`db.client.connection.*`).
 *
 * @module pg-managed-connection/otel
 */
import { metrics, type Attributes, type BatchObservableResult, type Meter } from '@opentelemetry/api'
import type { ManagedConnection } from '../index.js'

/** Options of `instrument`. */
export interface InstrumentOptions {
  /**
   * `db.client.connection.pool.name`: tells this manager from others. Default: its connection string, with every
   * password shown as `***`.
   */
  readonly name?: string | undefined
  /** What the metrics are made with. Default: the meter `pg-managed-connection` of the global provider. */
  readonly meter?: Meter | undefined
}

/** A manager that is being measured; call it, or dispose of it, to stop. */
export interface Instrumentation extends Disposable {
  (): void
}

/** What is used of a manager: its public events and figures. */
export type Measurable = Pick<ManagedConnection, 'closed' | 'stats' | 'on' | 'off' | 'toString'>

const PREFIX = 'db.client.connection'

/**
 * Measures a manager by OpenTelemetry's semantic conventions (`db.client.connection.*`) until it is told to stop.
 * Waiting and using are those of holders; one-shots and batches count as use while they are unanswered.
 *
 * ```ts
 * import { instrument } from 'pg-managed-connection/otel'
 *
 * const stop = instrument(manager, { name: 'bank' })
 * await manager.end()
 * stop()
 * ```
 */
export function instrument(manager: Measurable, options: InstrumentOptions = {}): Instrumentation {
  if (typeof manager?.on !== 'function') throw new TypeError('instrument() takes a ManagedConnection')
  const { name = String(manager), meter = metrics.getMeter('pg-managed-connection') } = options
  const pool = { [`${PREFIX}.pool.name`]: name }
  const stops = [observe(manager, meter, pool), record(manager, meter, pool)]
  const stop = (): void => stops.forEach((one) => one())
  return Object.assign(stop, { [Symbol.dispose]: stop })
}

/** Has figures looked up when metrics are collected. Gives the function that ends it. */
function observe(manager: Measurable, meter: Meter, pool: Attributes): () => void {
  const gauge = (name: string, unit: string, description: string) =>
    meter.createObservableUpDownCounter(`${PREFIX}.${name}`, { unit, description })
  const count = gauge(
    'count',
    '{connection}',
    'The number of connections in the state that the attribute says.',
  )
  const idleMax = gauge('idle.max', '{connection}', 'The maximum number of idle open connections allowed.')
  const max = gauge('max', '{connection}', 'The maximum number of open connections allowed.')
  const pending = gauge('pending_requests', '{request}', 'The number of requests that wait for a turn.')
  const timeouts = meter.createObservableCounter(`${PREFIX}.timeouts`, {
    unit: '{timeout}',
    description: 'The number of requests that left the line because their time had passed.',
  })
  const look = (result: BatchObservableResult): void => {
    const { held, inFlight, ...stats } = manager.stats
    const used = !manager.closed && (held || inFlight > 0)
    result.observe(count, used ? 1 : 0, { ...pool, [`${PREFIX}.state`]: 'used' })
    result.observe(count, manager.closed || used ? 0 : 1, { ...pool, [`${PREFIX}.state`]: 'idle' })
    result.observe(idleMax, 1, pool)
    result.observe(max, 1, pool)
    result.observe(pending, stats.waiting, pool)
    result.observe(timeouts, stats.timeouts, pool)
  }
  const all = [count, idleMax, max, pending, timeouts]
  meter.addBatchObservableCallback(look, all)
  return () => meter.removeBatchObservableCallback(look, all)
}

/** For times of connecting, waiting and holding, in seconds: from half a millisecond to ten seconds. */
const BUCKETS = { explicitBucketBoundaries: [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10] }

/** Writes times down when they are known. Gives the function that ends it. */
function record(manager: Measurable, meter: Meter, pool: Attributes): () => void {
  const recorder = (name: string, description: string) => {
    const histogram = meter.createHistogram(`${PREFIX}.${name}`, { unit: 's', description, advice: BUCKETS })
    return (millis: number): void => histogram.record(millis / 1_000, pool)
  }
  const created = recorder('create_time', 'The time it took to open and set up a connection.')
  const waited = recorder('wait_time', 'The time between asking for a turn and getting it.')
  const used = recorder('use_time', 'The time between getting a turn and giving it back.')
  const onConnect = (event: { openedMillis: number }): void => created(event.openedMillis)
  const onAcquire = (event: { waitedMillis: number }): void => waited(event.waitedMillis)
  const onRelease = (event: { heldMillis: number }): void => used(event.heldMillis)
  manager.on('connect', onConnect).on('acquire', onAcquire).on('release', onRelease)
  return () => void manager.off('connect', onConnect).off('acquire', onAcquire).off('release', onRelease)
}
