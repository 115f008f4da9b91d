/**
 * The metrics of a connection pool by OpenTelemetry's semantic conventions for database clients, as far as one
 * connection has them. Times are in seconds there.
 */
import type {
  Attributes,
  Histogram,
  Meter,
  ObservableCounter,
  ObservableUpDownCounter,
} from '@opentelemetry/api'

/** For times of connecting, waiting and holding: from half a millisecond to ten seconds. */
const SECONDS = { explicitBucketBoundaries: [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10] }

/** What is observed when metrics are collected. */
export interface Observed {
  readonly count: ObservableUpDownCounter
  readonly idleMax: ObservableUpDownCounter
  readonly max: ObservableUpDownCounter
  readonly pendingRequests: ObservableUpDownCounter
  readonly timeouts: ObservableCounter
}

/** What is recorded when it happens. */
export interface Recorded {
  readonly createTime: Histogram
  readonly waitTime: Histogram
  readonly useTime: Histogram
}

/** Which pool a figure is of. */
export const POOL_NAME = 'db.client.connection.pool.name'
/** `'idle'` or `'used'`. */
export const STATE = 'db.client.connection.state'

export function createObserved(meter: Meter): Observed {
  const gauge = (name: string, unit: string, description: string): ObservableUpDownCounter =>
    meter.createObservableUpDownCounter(`db.client.connection.${name}`, { unit, description })
  return {
    count: gauge('count', '{connection}', 'The number of connections in the state that the attribute says.'),
    idleMax: gauge('idle.max', '{connection}', 'The maximum number of idle open connections allowed.'),
    max: gauge('max', '{connection}', 'The maximum number of open connections allowed.'),
    pendingRequests: gauge('pending_requests', '{request}', 'The number of requests that wait for a turn.'),
    timeouts: meter.createObservableCounter('db.client.connection.timeouts', {
      unit: '{timeout}',
      description: 'The number of requests that left the line because their time had passed.',
    }),
  }
}

export function createRecorded(meter: Meter): Recorded {
  const histogram = (name: string, description: string): Histogram =>
    meter.createHistogram(`db.client.connection.${name}`, { unit: 's', description, advice: SECONDS })
  return {
    createTime: histogram('create_time', 'The time it took to open and set up a connection.'),
    waitTime: histogram('wait_time', 'The time between asking for a turn and getting it.'),
    useTime: histogram('use_time', 'The time between getting a turn and giving it back.'),
  }
}

/** The attributes of one state of a pool. */
export function inState(pool: Attributes, state: 'idle' | 'used'): Attributes {
  return { ...pool, [STATE]: state }
}
