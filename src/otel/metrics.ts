/** The metrics of a connection pool (`db.client.connection.*`) and of statements (`db.client.operation.duration`). */
import type { Attributes, BatchObservableResult, Meter } from '@opentelemetry/api'
import { now } from '../util/clock.js'
import { attributesOf, failureOf, operationAttributes } from './attributes.js'
import { CONNECT, HOLD, STATEMENT, WAIT, type Channel } from '../diagnostics/channels.js'
import { watch } from '../diagnostics/watch.js'
import type { Manager, TraceContext } from '../index.js'

const PREFIX = 'db.client.connection'

/** Has figures looked up when metrics are collected. Gives the function that ends it. */
export function observe(manager: Manager, meter: Meter, pool: Attributes): () => void {
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

/** For times of connecting, waiting, holding and of statements, in seconds: from half a millisecond to ten seconds. */
const BUCKETS = { explicitBucketBoundaries: [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10] }

/** Writes times down when they are known. Gives the function that ends it. */
export function record(manager: Manager, meter: Meter, pool: Attributes): () => void {
  const histogram = (name: string, description: string) =>
    meter.createHistogram(name, { unit: 's', description, advice: BUCKETS })
  const created = histogram(`${PREFIX}.create_time`, 'The time it took to open and set up a connection.')
  const waited = histogram(`${PREFIX}.wait_time`, 'The time between asking for a turn and getting it.')
  const used = histogram(`${PREFIX}.use_time`, 'The time between getting a turn and giving it back.')
  const taken = histogram('db.client.operation.duration', 'The time that statements and batches took.')
  const timed = <C extends TraceContext>(channel: Channel<C>, tell: (seconds: number, context: C) => void) =>
    watchTimes(manager, channel, tell)
  const stops = [
    timed(CONNECT, (seconds, { error }) => error === undefined && created.record(seconds, pool)),
    timed(WAIT, (seconds, { error }) => error === undefined && waited.record(seconds, pool)),
    timed(HOLD, (seconds) => used.record(seconds, pool)),
    timed(STATEMENT, (seconds, context) => {
      const { error, hold, waitedMillis } = context
      const failure = error === undefined ? {} : failureOf(error)
      taken.record(seconds, { ...attributesOf(manager), ...operationAttributes(context), ...failure })
      // In a turn it is part of the turn's time.
      if (hold !== null || waitedMillis === null) return
      waited.record(waitedMillis / 1_000, pool)
      used.record(Math.max(0, seconds - waitedMillis / 1_000), pool)
    }),
  ]
  return () => stops.forEach((stop) => stop())
}

/** Tells how long each took, in seconds. */
function watchTimes<C extends TraceContext>(
  manager: Manager,
  channel: Channel<C>,
  tell: (seconds: number, context: C) => void,
): () => void {
  const begunAt = new WeakMap<C, number>()
  return watch(manager, channel, {
    begin: (context) => void begunAt.set(context, now()),
    end: (context) => {
      const from = begunAt.get(context)
      // It had begun before anybody measured.
      if (from !== undefined) tell((now() - from) / 1_000, context)
    },
  })
}
