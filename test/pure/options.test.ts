/** Options are validated once, when the manager is made; a wrong one throws and is named. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConninfoError, ManagedConnection, type ManagedConnectionOptions } from 'pg-managed-connection'

const make = (options: unknown): ManagedConnection =>
  new ManagedConnection('postgres:///none', options as ManagedConnectionOptions)

const MILLIS = [
  'acquireTimeoutMillis',
  'statementTimeoutMillis',
  'reconnectTimeoutMillis',
  'idleTimeoutMillis',
  'maxLifetimeMillis',
  'validateAfterIdleMillis',
  'holdWarningMillis',
  'maxHoldMillis',
  'releaseGraceMillis',
]
const COUNTS = ['maxWaiting', 'maxPrepared']
const BOOLEANS = ['autocommit', 'pipeline', 'prepare', 'traceHolders', 'allowExitOnIdle']

/** The error names the option and shows the value. */
function assertRefused(name: string, value: unknown): void {
  assert.throws(
    () => make({ [name]: value }),
    (error: Error) => {
      assert.ok(error instanceof TypeError || error instanceof RangeError, String(error))
      assert.ok(error.message.includes(name), error.message)
      return true
    },
    `${name}: ${String(value)}`,
  )
}

for (const name of MILLIS) {
  test(`${name} is a number of milliseconds, 0 or more`, () => {
    for (const wrong of [-1, NaN, -Infinity, '100', null, true, {}, 5n]) assertRefused(name, wrong)
    for (const right of [0, 0.5, 1, 30_000, Infinity, undefined]) make({ [name]: right })
  })
}

for (const name of COUNTS) {
  test(`${name} is a whole number, 0 or more`, () => {
    for (const wrong of [-1, 1.5, NaN, '3', null, true]) assertRefused(name, wrong)
    for (const right of [0, 1, 1000, Infinity, undefined]) make({ [name]: right })
  })
}

for (const name of BOOLEANS) {
  test(`${name} is a boolean`, () => {
    for (const wrong of [0, 1, 'true', null, {}]) assertRefused(name, wrong)
    for (const right of [true, false, undefined]) make({ [name]: right })
  })
}

test('reset is none or session', () => {
  for (const wrong of ['all', '', true, null, 'SESSION']) assertRefused('reset', wrong)
  for (const right of ['none', 'session', undefined]) make({ reset: right })
})

test('closeOn is broken or database-error', () => {
  for (const wrong of ['never', '', false, null]) assertRefused('closeOn', wrong)
  for (const right of ['broken', 'database-error', undefined]) make({ closeOn: right })
})

test('onConnect is a function', () => {
  for (const wrong of ['SET x', {}, null, true]) assertRefused('onConnect', wrong)
  make({ onConnect: async () => {} })
  make({ onConnect: undefined })
})

for (const [name, message] of [
  ['acquireTimeout', 'unknown option "acquireTimeout"; did you mean "acquireTimeoutMillis"?'],
  ['autoCommit', 'unknown option "autoCommit"; did you mean "autocommit"?'],
  ['nonsense', 'unknown option "nonsense"'],
  ['toString', 'unknown option "toString"'],
  ['max', 'unknown option "max"; it is an option of a pool, and here is one connection: leave it out'],
  ['host', 'unknown option "host"; it is a connection parameter: give it in the first argument'],
  [
    'connectionTimeoutMillis',
    'unknown option "connectionTimeoutMillis"; it is a connection parameter: give it in the first argument',
  ],
] as const) {
  test(`an unknown option is refused and named: ${name}`, () => {
    assert.throws(() => make({ [name]: 5 }), new TypeError(message))
    assert.throws(() => make(Object.create({ [name]: 5 })), new TypeError(message))
  })
}

test('options that are inherited or given by a getter count, and are read once', () => {
  let reads = 0
  class Policy {
    get maxWaiting(): number {
      reads++
      return -1
    }
  }
  assert.throws(() => make(new Policy()), /maxWaiting .* but is -1/)
  assert.equal(reads, 1)
  assert.throws(() => make(Object.create({ prepare: 'no' })), /prepare .* but is 'no'/)
})

test('options must be an object', () => {
  for (const wrong of [null, 5, 'x']) assert.throws(() => make(wrong), TypeError)
})

test('the value that is wrong is shown', () => {
  assert.throws(() => make({ maxWaiting: -7 }), /-7/)
  assert.throws(() => make({ reset: 'everything' }), /'everything'/)
})

test('changing the options afterwards changes nothing', async () => {
  const options = { maxWaiting: 0, acquireTimeoutMillis: 10 }
  const manager = make(options)
  options.maxWaiting = Infinity
  await assert.rejects(
    Promise.all([manager.query('SELECT 1'), manager.query('SELECT 1')]),
    (error: { code: string }) =>
      ['ERR_TOO_MANY_WAITING', 'ERR_CONNECT', 'ERR_ACQUIRE_TIMEOUT'].includes(error.code),
  )
})

test('a wrong connection string throws where the manager is made', () => {
  assert.throws(() => new ManagedConnection('host'), ConninfoError)
  assert.throws(() => new ManagedConnection('postgres://h:notaport/'), ConninfoError)
})

test('query_timeout means statementTimeoutMillis, and giving both is an error', () => {
  new ManagedConnection({ query_timeout: 100 })
  assert.throws(
    () => new ManagedConnection({ query_timeout: 100 }, { statementTimeoutMillis: 100 }),
    /query_timeout/,
  )
})
