/** Every error class: its code, its name, its fields, its cause; and no password anywhere. */
import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import type pg from 'pg'
import * as library from 'pg-managed-connection'
import {
  AcquireTimeoutError,
  CommitRolledBackError,
  ConnectError,
  ConnectionLostError,
  ManagedConnectionError,
  ManagerEndedError,
  TransactionEndedError,
  UncommittedTransactionError,
  UnfinishedStatementError,
} from 'pg-managed-connection'
import { caught, reason } from '../support/caught.js'
import { freePort } from '../support/free-port.js'
import { ManagedConnection } from '../support/managed.js'
import { openSuite } from '../support/suite.js'
import { until } from '../support/wait.js'

const { test, database } = await openSuite()
await database.admin.query('CREATE TABLE t (id int)')

const cause = new Error('the cause')

/** One instance of each class, and its code. */
const EXAMPLES: readonly [code: string, error: ManagedConnectionError][] = [
  [
    'ERR_UNCOMMITTED_TRANSACTION',
    new UncommittedTransactionError({ statement: 'SELECT 1', retrySafe: true, cause }),
  ],
  [
    'ERR_UNFINISHED_STATEMENT',
    new UnfinishedStatementError({ statements: ['SELECT 1'], retrySafe: true, cause }),
  ],
  ['ERR_COMMIT_ROLLED_BACK', new CommitRolledBackError({ retrySafe: true, cause })],
  ['ERR_TRANSACTION_ENDED', new TransactionEndedError({ statement: 'COMMIT', retrySafe: false, cause })],
  ['ERR_TRANSACTION_ORDER', new library.TransactionOrderError('out of order')],
  [
    'ERR_ACQUIRE_TIMEOUT',
    new AcquireTimeoutError({
      timeoutMillis: 5,
      waiting: 1,
      heldMillis: 2,
      label: 'mine',
      holderLabel: 'theirs',
      whyNobody: null,
      holderStack: null,
      statement: 'SELECT 1',
    }),
  ],
  ['ERR_TOO_MANY_WAITING', new library.TooManyWaitingError({ maxWaiting: 3 })],
  ['ERR_REENTRANT_ACQUIRE', new library.ReentrantAcquireError({ member: 'use', inside: 'callback' })],
  ['ERR_CONNECTION_RELEASED', new library.ConnectionReleasedError()],
  [
    'ERR_HOLD_TIMEOUT',
    new library.HoldTimeoutError({ maxHoldMillis: 5, label: null, holderStack: null, retrySafe: true }),
  ],
  [
    'ERR_STATEMENT_TIMEOUT',
    new library.StatementTimeoutError({
      timeoutMillis: 5,
      statement: 'SELECT 1',
      sent: true,
      retrySafe: true,
      cause,
    }),
  ],
  ['ERR_CONNECT', new ConnectError('nothing there', { errors: [cause] })],
  ['ERR_CONNECTION_LOST', new ConnectionLostError({ commitOutcome: 'none', retrySafe: true, cause })],
  ['ERR_MANAGER_ENDED', new ManagerEndedError()],
  ['ERR_SUBSCRIPTION_OVERFLOW', new library.SubscriptionOverflowError({ channel: 'c', maxBuffered: 5 })],
  ['ERR_CONNINFO', new library.ConninfoError('wrong')],
  ['ERR_UNSUPPORTED_SERVER', new library.UnsupportedServerError('it cannot', { cause })],
]

test('every class of the package has an example here', () => {
  const classes = Object.entries(library)
    .filter(
      ([name, value]) =>
        value.prototype instanceof ManagedConnectionError && name !== 'ManagedConnectionError',
    )
    .map(([name]) => name)
  assert.deepEqual(EXAMPLES.map(([, error]) => error.constructor.name).sort(), classes.sort())
})

for (const [code, error] of EXAMPLES) {
  const { name } = error.constructor
  test(`${name}: a stable code, its name, one base, retrySafe`, () => {
    assert.equal(error.code, code)
    assert.equal(error.name, name)
    assert.ok(error instanceof ManagedConnectionError && error instanceof Error)
    assert.equal(typeof error.retrySafe, 'boolean')
    assert.ok(error.message.length > 0)
    assert.ok(inspect(error).includes(name), inspect(error))
    assert.ok(String(error).startsWith(`${name}: `))
  })
}

test('the cause is kept, and absent where there is none', () => {
  for (const [code, error] of EXAMPLES) {
    if (error.cause !== undefined) assert.equal(error.cause, cause, code)
  }
  assert.ok(!('cause' in new ManagerEndedError()))
})

test('errors are made for whom they are told: no instance is shared, each has a stack of its own', async () => {
  const port = await freePort()
  await using manager = new ManagedConnection(`host=127.0.0.1 port=${port} user=u dbname=d`)
  const [one, two] = await Promise.all([
    caught(manager.acquire(), ConnectError),
    caught(manager.acquire(), ConnectError),
  ])
  assert.notEqual(one, two)
  assert.equal(one.retrySafe, true)
})

test('a long statement is cut in the message, and whole in the field', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const text = `SELECT 1 /* ${'x'.repeat(5_000)} */`
  const error = await caught(
    manager.use((connection) => connection.query(text)),
    UncommittedTransactionError,
  )
  assert.equal(error.statement, text)
  assert.ok(error.message.length < 1_000)
})

test('retrySafe is false as soon as something of the whole call may have been committed', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const store = 'INSERT INTO t VALUES (1)'
  const nothing = await caught(
    manager.use((connection) => connection.query(store)),
    UncommittedTransactionError,
  )
  assert.equal(nothing.retrySafe, true)
  const committed = await caught(
    manager.use(async (connection) => {
      await connection.query(store)
      await connection.commit()
      await connection.query(store)
    }),
    UncommittedTransactionError,
  )
  assert.equal(committed.retrySafe, false)
  const byText = await caught(
    manager.use(async (connection) => {
      await connection.query(store)
      await connection.query('COMMIT')
      await connection.query(store)
    }),
    UncommittedTransactionError,
  )
  assert.equal(byText.retrySafe, false)
  const before = await caught(
    manager.use(async (connection) => {
      await connection.query(store)
      await connection.commit()
      await reason(connection.query('SELECT 1 / 0'))
      await connection.commit()
    }),
    CommitRolledBackError,
  )
  assert.equal(before.retrySafe, false, 'the first transaction of the call was committed')
  const rolledBack = await caught(
    manager.use(async (connection) => {
      await connection.query(store)
      await connection.rollback()
      await connection.query(store)
    }),
    UncommittedTransactionError,
  )
  assert.equal(rolledBack.retrySafe, true)
})

test(
  'a statement of a lost connection: commitOutcome is none in a transaction, unknown for a one-shot',
  { needs: ['kill'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const kill = 'SELECT pg_terminate_backend(pg_backend_pid())'
    const held = await caught(
      manager.transaction(async (connection) => {
        await connection.query('SELECT 1')
        await connection.query(kill)
      }),
      ConnectionLostError,
    )
    assert.deepEqual([held.commitOutcome, held.retrySafe], ['none', true])
    assert.equal((held.cause as pg.DatabaseError).code, '57P01')
    const oneShot = await caught(manager.query(kill), ConnectionLostError)
    assert.deepEqual([oneShot.commitOutcome, oneShot.retrySafe], ['unknown', false])
    const batch = await caught(manager.batch(['SELECT 1', kill]), ConnectionLostError)
    assert.deepEqual([batch.commitOutcome, batch.retrySafe], ['unknown', false])
    const autocommit = await caught(
      manager.use((connection) => connection.query(kill), { autocommit: true }),
      ConnectionLostError,
    )
    assert.deepEqual([autocommit.commitOutcome, autocommit.retrySafe], ['unknown', false])
  },
)

test(
  'a password appears in no message, field, stack, event or inspection',
  { needs: ['processes', 'own thread'] },
  async () => {
    const secret = 'hunter2-is-secret'
    const shown: string[] = []
    const see = (...things: unknown[]): void => {
      for (const thing of things) {
        shown.push(inspect(thing, { depth: 20, showHidden: true, getters: true }), String(thing))
        if (thing instanceof Error) shown.push(thing.stack ?? '', JSON.stringify({ ...thing }))
      }
    }
    const { host, port, user } = database.login
    const parameters = { host, port, user, dbname: database.name, password: secret }
    const refused = await freePort()
    for (const conninfo of [
      { ...parameters, host: '127.0.0.1', port: refused },
      `host=127.0.0.1 port=${refused} user=u dbname=d password=${secret}`,
      `postgres://u:${secret}@127.0.0.1:${refused}/d`,
    ]) {
      await using manager = new ManagedConnection(conninfo)
      see(manager, await caught(manager.query('SELECT 1'), ConnectError))
    }
    for (const wrong of [
      `host=h password=${secret} nonsense=1`,
      `postgres://u:${secret}@h:port/d`,
      `password='${secret}`,
    ]) {
      try {
        see(new ManagedConnection(wrong))
      } catch (error) {
        see(error)
      }
    }
    await using manager = new ManagedConnection(parameters)
    for (const event of ['connect', 'disconnect', 'acquire', 'release', 'rollback'] as const) {
      manager.on(event as 'connect', (...args) => see(...args))
    }
    see(await reason(manager.use((connection) => connection.query('SELECT 1'))))
    await manager.use((connection) => see(connection))
    see(await reason(manager.query('SELECT 1 / 0')), manager, manager.stats)
    await database.admin.terminate(manager.stats.processID!)
    await until(() => manager.closed, { what: 'the loss' })
    see(manager)
    for (const text of shown) assert.ok(!text.includes(secret), text)
  },
)

test('the names of errors are literals, which minifying a program leaves as they are', () => {
  for (const [name, value] of Object.entries(library)) {
    if (!(typeof value === 'function' && value.prototype instanceof ManagedConnectionError)) continue
    assert.equal(Object.getOwnPropertyDescriptor(value.prototype, 'name')?.value, name)
  }
})

test('DatabaseError is pg’s own, as the server’s errors are', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  assert.ok((await reason(manager.query('SELECT 1/0'))) instanceof library.DatabaseError)
})

test(
  'an error says who asked, where the server or the connection is what failed',
  { needs: ['cancel', 'kill'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const asks: Record<string, () => Promise<unknown>> = {
      'a one-shot': () => manager.query('SELECT 1 / 0'),
      'a one-shot that has timed out': () =>
        manager.query({ text: 'SELECT pg_sleep(10)', timeoutMillis: 50 }),
      'a batch': () => manager.batch(['SELECT 1', 'SELECT 1 / 0']),
      'a statement of a transaction': () =>
        manager.transaction((connection) => connection.query('SELECT 1 / 0')),
      'a transaction that was not ended': () => manager.use((connection) => connection.query('SELECT 1')),
      'one of many': () => Promise.all([manager.query('SELECT 1'), manager.query('SELECT 1 / 0')]),
      'one who waits in vain': () =>
        manager.use(() => manager.use(() => {}, { detached: true, timeoutMillis: 20 })),
    }
    await manager.query('CREATE TEMP TABLE once (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)')
    const twice = 'INSERT INTO once VALUES (1), (1)'
    Object.assign(asks, {
      'a COMMIT': () => manager.transaction((connection) => connection.query(twice)),
      'a commit()': () =>
        manager.use(async (connection) => {
          await connection.query(twice)
          await connection.commit()
        }),
      'a COMMIT inside a holder': () =>
        manager.use((connection) => connection.transaction((inner) => inner.query(twice))),
      'one whose connection is lost': () => manager.query('SELECT pg_terminate_backend(pg_backend_pid())'),
    })
    const theAsker = async (ask: () => Promise<unknown>): Promise<void> => {
      await ask()
    }
    for (const [what, ask] of Object.entries(asks)) {
      const error = (await reason(theAsker(ask))) as Error
      assert.match(error.stack ?? '', /theAsker/, what)
      assert.ok(error.stack!.includes(error.message), what)
    }
    const own = new Error('own')
    const { stack } = own
    const types = {
      getTypeParser: () => () => {
        throw own
      },
    }
    assert.equal(await reason(manager.query({ text: 'SELECT 1', types })), own)
    assert.equal(own.stack, stack)
    const told = (await reason(manager.query('SELECT 1 / 0'))) as Error
    const before = told.stack
    const stop = new AbortController()
    const stopped = reason(manager.query({ text: 'SELECT pg_sleep(10)', signal: stop.signal }))
    setTimeout(() => stop.abort(told), 50)
    assert.equal(await stopped, told)
    assert.equal(told.stack, before)
    const signal = AbortSignal.abort(own)
    assert.equal(await reason(manager.query({ text: 'SELECT 1', signal })), own)
    assert.equal(own.stack, stack)
  },
)
