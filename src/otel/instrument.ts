/** The entry: a manager's figures as OpenTelemetry's metrics of a connection pool. */
import { metrics, type Attributes, type BatchObservableResult, type Meter } from '@opentelemetry/api'
import { createObserved, createRecorded, inState, POOL_NAME, type Observed } from './metrics.js'
import type { ConnectEvent, ManagedConnection } from '../index.js'

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

const METER_NAME = 'pg-managed-connection'
const MILLIS_A_SECOND = 1_000

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
  const { name = String(manager), meter = metrics.getMeter(METER_NAME) } = options
  const pool = { [POOL_NAME]: name }
  const stops = [observe(manager, meter, pool), record(manager, meter, pool)]
  const stop = (): void => {
    for (const one of stops) one()
  }
  return Object.assign(stop, { [Symbol.dispose]: stop })
}

/** What is looked up when metrics are collected. Gives the function that ends it. */
function observe(manager: Measurable, meter: Meter, pool: Attributes): () => void {
  const observed = createObserved(meter)
  const look = (result: BatchObservableResult): void => report(manager, observed, pool, result)
  const all = Object.values(observed) as Observed[keyof Observed][]
  meter.addBatchObservableCallback(look, all)
  return () => meter.removeBatchObservableCallback(look, all)
}

function report(
  manager: Measurable,
  observed: Observed,
  pool: Attributes,
  result: BatchObservableResult,
): void {
  const { held, inFlight, waiting, timeouts } = manager.stats
  const used = !manager.closed && (held || inFlight > 0)
  result.observe(observed.count, used ? 1 : 0, inState(pool, 'used'))
  result.observe(observed.count, manager.closed || used ? 0 : 1, inState(pool, 'idle'))
  result.observe(observed.idleMax, 1, pool)
  result.observe(observed.max, 1, pool)
  result.observe(observed.pendingRequests, waiting, pool)
  result.observe(observed.timeouts, timeouts, pool)
}

/** What is written down when it happens. Gives the function that ends it. */
function record(manager: Measurable, meter: Meter, pool: Attributes): () => void {
  const { createTime, waitTime, useTime } = createRecorded(meter)
  const onConnect = ({ openedMillis }: ConnectEvent): void =>
    createTime.record(openedMillis / MILLIS_A_SECOND, pool)
  const onAcquire = (event: { waitedMillis: number }): void =>
    waitTime.record(event.waitedMillis / MILLIS_A_SECOND, pool)
  const onRelease = (event: { heldMillis: number }): void =>
    useTime.record(event.heldMillis / MILLIS_A_SECOND, pool)
  manager.on('connect', onConnect).on('acquire', onAcquire).on('release', onRelease)
  return () => void manager.off('connect', onConnect).off('acquire', onAcquire).off('release', onRelease)
}
