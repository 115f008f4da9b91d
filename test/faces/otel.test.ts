/** `pg-managed-connection/otel`: the metrics of a connection pool, as the real SDK collects them. */
import assert from 'node:assert/strict'
import { tracingChannel } from 'node:diagnostics_channel'
import { setTimeout as sleep } from 'node:timers/promises'
import { metrics } from '@opentelemetry/api'
import {
  DataPointType,
  MeterProvider,
  MetricReader,
  type Histogram,
  type MetricData,
} from '@opentelemetry/sdk-metrics'
import { AcquireTimeoutError, ManagedConnection } from 'pg-managed-connection'
import { instrument } from 'pg-managed-connection/otel'
import { caught, createGate } from '../support/caught.js'
import { openSuite } from '../support/suite.js'

const { test, database } = await openSuite()

/** Collects when it is asked to. */
class Reader extends MetricReader {
  protected override onForceFlush(): Promise<void> {
    return Promise.resolve()
  }

  protected override onShutdown(): Promise<void> {
    return Promise.resolve()
  }
}

class Collected implements AsyncDisposable {
  readonly #reader = new Reader()
  readonly provider = new MeterProvider({ readers: [this.#reader] })
  readonly meter = this.provider.getMeter('test')

  async metrics(): Promise<Map<string, MetricData>> {
    const { resourceMetrics, errors } = await this.#reader.collect()
    assert.deepEqual(errors, [])
    const all = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics)
    return new Map(all.map((metric) => [metric.descriptor.name.replace('db.client.connection.', ''), metric]))
  }

  /** The numbers of the gauges and counters, by name and state. */
  async numbers(): Promise<Record<string, number>> {
    const found: Record<string, number> = {}
    for (const [name, { dataPointType, dataPoints }] of await this.metrics()) {
      if (dataPointType === DataPointType.HISTOGRAM) continue
      for (const { attributes, value } of dataPoints) {
        const state = attributes['db.client.connection.state']
        found[state === undefined ? name : `${name} ${String(state)}`] = value as number
      }
    }
    return found
  }

  async histogram(name: string): Promise<Histogram> {
    return (await this.metrics()).get(name)!.dataPoints[0]!.value as Histogram
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.provider.shutdown()
  }
}

test('the connection is counted as used or idle, and nothing where it is closed', async () => {
  await using collected = new Collected()
  await using manager = new ManagedConnection(database.conninfo)
  using _stop = instrument(manager, { meter: collected.meter })
  const constant = { 'idle.max': 1, max: 1, timeouts: 0 }
  const closed = { ...constant, 'count idle': 0, 'count used': 0, pending_requests: 0 }
  assert.deepEqual(await collected.numbers(), closed)
  const gate = createGate()
  const holding = manager.use(() => gate.opened)
  const waiting = [manager.use(() => {}), manager.query('SELECT 1')]
  while (!manager.stats.held) await sleep(1)
  assert.deepEqual(await collected.numbers(), { ...closed, 'count used': 1, pending_requests: 2 })
  gate.open()
  await Promise.all([holding, ...waiting])
  assert.deepEqual(await collected.numbers(), { ...closed, 'count idle': 1 })
  await manager.close()
  assert.deepEqual(await collected.numbers(), closed)
})

test('a one-shot that is not answered makes the connection used', async () => {
  await using collected = new Collected()
  await using manager = new ManagedConnection(database.conninfo)
  using _stop = instrument(manager, { meter: collected.meter })
  const slow = manager.query('SELECT pg_sleep(0.3)')
  while (manager.stats.inFlight === 0) await sleep(1)
  assert.equal((await collected.numbers())['count used'], 1)
  await slow
})

test('time-outs are counted, those from before it was measured, too', async () => {
  await using collected = new Collected()
  await using manager = new ManagedConnection(database.conninfo)
  const timeOut = () =>
    manager.use(() =>
      caught(
        manager.use(() => {}, { timeoutMillis: 5, detached: true }),
        AcquireTimeoutError,
      ),
    )
  await timeOut()
  using _stop = instrument(manager, { meter: collected.meter })
  await timeOut()
  assert.equal((await collected.numbers())['timeouts'], 2)
})

test('opening, waiting and holding are timed, in seconds', async () => {
  await using collected = new Collected()
  await using manager = new ManagedConnection(database.conninfo)
  using _stop = instrument(manager, { meter: collected.meter })
  await Promise.all([manager.use(() => sleep(60)), manager.use(() => {})])
  await manager.close()
  await manager.use(() => {})
  const created = await collected.histogram('create_time')
  assert.equal(created.count, 2)
  assert.ok(created.sum! > 0 && created.sum! < 20, String(created.sum))
  const waited = await collected.histogram('wait_time')
  assert.equal(waited.count, 3)
  assert.ok(waited.max! >= 0.05 && waited.max! < 20, String(waited.max))
  const used = await collected.histogram('use_time')
  assert.equal(used.count, 3)
  assert.ok(used.max! >= 0.05 && used.max! < 20 && used.min! < used.max!, String(used.max))
})

test('one-shots and batches are timed as well: their wait, their use, and the statement', async () => {
  await using collected = new Collected()
  await using manager = new ManagedConnection(database.conninfo)
  using _stop = instrument(manager, { meter: collected.meter })
  const holding = manager.use(() => sleep(60))
  const failing = manager.query('SELECT 1 / 0').catch(() => {})
  await Promise.all([
    holding,
    manager.query('SELECT pg_sleep(0.05)'),
    manager.batch(['SELECT 1', 'SELECT 2']),
    failing,
  ])
  const waited = await collected.histogram('wait_time')
  assert.equal(waited.count, 4)
  assert.ok(waited.max! >= 0.05)
  const used = await collected.histogram('use_time')
  assert.equal(used.count, 4)
  const { dataPoints } = (await collected.metrics()).get('db.client.operation.duration')!
  const told = dataPoints.map(({ attributes }) => [
    attributes['db.operation.name'],
    attributes['db.namespace'],
    attributes['error.type'],
  ])
  assert.deepEqual(told.map((one) => one.join(' ')).toSorted(), [
    `BATCH SELECT ${database.name} `,
    `SELECT ${database.name} `,
    `SELECT ${database.name} 22012`,
  ])
})

test('names, kinds and units are those of the semantic conventions', async () => {
  await using collected = new Collected()
  await using manager = new ManagedConnection(database.conninfo)
  using _stop = instrument(manager, { meter: collected.meter })
  await manager.use(() => {})
  await manager.query('SELECT 1')
  const seen = [...(await collected.metrics()).values()]
    .map(({ descriptor: { name, unit }, dataPointType }) => `${name} ${unit} ${DataPointType[dataPointType]}`)
    .sort()
  assert.deepEqual(seen, [
    'db.client.connection.count {connection} SUM',
    'db.client.connection.create_time s HISTOGRAM',
    'db.client.connection.idle.max {connection} SUM',
    'db.client.connection.max {connection} SUM',
    'db.client.connection.pending_requests {request} SUM',
    'db.client.connection.timeouts {timeout} SUM',
    'db.client.connection.use_time s HISTOGRAM',
    'db.client.connection.wait_time s HISTOGRAM',
    'db.client.operation.duration s HISTOGRAM',
  ])
  const monotonic = [...(await collected.metrics())].filter(
    ([, metric]) => metric.dataPointType === DataPointType.SUM && metric.isMonotonic,
  )
  assert.deepEqual(
    monotonic.map(([name]) => name),
    ['timeouts'],
  )
})

test('each figure bears the name of its pool, by default the connection string without its password', async () => {
  await using collected = new Collected()
  await using bank = new ManagedConnection(database.conninfo)
  await using other = new ManagedConnection('postgres://app:secret@db.example/shop')
  using _first = instrument(bank, { meter: collected.meter, name: 'bank' })
  using _second = instrument(other, { meter: collected.meter })
  await bank.use(() => {})
  const names = new Set<unknown>()
  for (const { dataPoints } of (await collected.metrics()).values())
    for (const { attributes } of dataPoints) names.add(attributes['db.client.connection.pool.name'])
  assert.deepEqual([...names].sort(), ['bank', 'postgres://app:***@db.example/shop'])
})

test('stopped, it measures no more and leaves no listener', async () => {
  await using collected = new Collected()
  await using manager = new ManagedConnection(database.conninfo)
  const listeners = (): boolean[] =>
    ['connect', 'wait', 'hold', 'transaction', 'statement'].map(
      (name) => tracingChannel(`pg-managed-connection:${name}`).asyncEnd.hasSubscribers,
    )
  const before = listeners()
  const stop = instrument(manager, { meter: collected.meter })
  await manager.use(() => {})
  assert.ok(listeners().every((listens) => listens))
  stop()
  stop()
  assert.deepEqual(listeners(), before)
  assert.deepEqual(await collected.numbers(), {})
  const { count } = await collected.histogram('use_time')
  await manager.use(() => {})
  assert.equal((await collected.histogram('use_time')).count, count)
})

test('without a meter the global provider is asked', async () => {
  await using collected = new Collected()
  await using manager = new ManagedConnection(database.conninfo)
  metrics.setGlobalMeterProvider(collected.provider)
  try {
    using _stop = instrument(manager)
    assert.equal((await collected.numbers())['max'], 1)
  } finally {
    metrics.disable()
  }
})

test('what is no manager is refused', () => {
  // @ts-expect-error: the types say so, too
  assert.throws(() => instrument({}), /takes a manager/)
})
