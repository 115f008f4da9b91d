/** Leadership: one of many leads, and hears at once when it does not any more. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  ConnectError,
  ManagerEndedError,
  ReentrantAcquireError,
  UnsupportedServerError,
  type ManagedConnectionOptions,
  type Manager,
} from 'pg-managed-connection'
import { lead, LeadershipLostError, type Leader } from 'pg-managed-connection/leader'
import { openSandbox } from 'pg-managed-connection/sandbox'
import { attach, share } from 'pg-managed-connection/worker'
import { caught, createGate, reason, settle } from '../support/caught.js'
import { freePort } from '../support/free-port.js'
import { lossOf, Term } from '../support/leader/term.js'
import { openManager } from '../support/manager.js'
import { openConnected } from '../support/proxied.js'
import { openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'
import { Puppet } from '../support/worker/puppet.js'

const { test, database } = await openSuite()
const { admin } = database

const NAME = 'jobs'

function open(options: ManagedConnectionOptions = {}): ReturnType<typeof openManager> {
  return openManager(database.conninfo, options)
}

/** How many sessions have the lock of a name. */
async function locks(name = NAME): Promise<number> {
  const [row] = await admin.rows<{ n: number }>(
    `SELECT count(*)::int AS n FROM pg_locks WHERE locktype = 'advisory' AND granted
       AND ((classid::int8 << 32) | objid::int8) = hashtextextended('pg-managed-connection/' || $1, 0)
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    [name],
  )
  return row!.n
}

/** So that something that must not happen has had the time for it. */
async function moment(): Promise<void> {
  await sleep(150)
}

for (const face of ['the own thread', 'a worker'] as const) {
  /** The manager on which is led, of a connection. */
  const sideOf = (manager: ReturnType<typeof open>): Manager =>
    face === 'a worker' ? attach(share(manager)) : manager

  test(`it leads, gives the name back when its work returns, and each epoch is greater: on ${face}`, async () => {
    await using manager = open()
    const side = sideOf(manager)
    const epochs: bigint[] = []
    for (let time = 0; time < 3; time++) {
      await lead(side, NAME, async ({ epoch, signal }) => {
        assert.equal(signal.aborted, false)
        assert.equal(await locks(), 1)
        epochs.push(epoch)
      })
      assert.equal(await locks(), 0)
    }
    assert.ok(epochs[0]! >= 1n << 64n, 'the timeline is in it')
    assert.ok(epochs[0]! < epochs[1]! && epochs[1]! < epochs[2]!)
    const { rows } = await side.query('SELECT $1::numeric AS epoch', [epochs[0]])
    assert.equal(rows[0].epoch, String(epochs[0]))
  })

  test(`what its work throws is what it rejects with, and the name is given back: on ${face}`, async () => {
    await using manager = open()
    const error = new Error('as it was told')
    const thrown = await reason(lead(sideOf(manager), NAME, () => Promise.reject(error)))
    assert.equal(thrown, error)
    assert.equal(await locks(), 0)
    const inTheSameTick = await reason(
      lead(sideOf(manager), NAME, () => {
        throw error
      }),
    )
    assert.equal(inTheSameTick, error)
  })

  test(`a killed backend: the signal aborts, and it is led again once the old work has settled: on ${face}`, async () => {
    await using manager = open()
    await using term = new Term(sideOf(manager), NAME)
    const first = await term.leads()
    await admin.terminate(manager.stats.processID!)
    const loss = await lossOf(first)
    assert.ok(loss instanceof LeadershipLostError)
    assert.equal(loss.code, 'ERR_LEADERSHIP_LOST')
    assert.equal(loss.leadership, NAME)
    assert.match(loss.message, /^the leadership of "jobs" was lost: /)
    assert.ok(loss.cause instanceof Error)
    await moment()
    assert.equal(term.leaders.length, 1)
    assert.equal(await locks(), 0)
    term.finish()
    const second = await term.leads(2)
    assert.ok(second.epoch > first.epoch)
    assert.equal(second.signal.aborted, false)
    term.finish()
    assert.equal(await term.ended(), undefined)
  })

  test(`a signal that aborts beforehand, while it waits, while it leads: on ${face}`, async () => {
    await using manager = open()
    const side = sideOf(manager)
    const why = new Error('enough')
    const work = (): void => assert.fail('it must not be run')
    assert.equal(await reason(lead(side, NAME, work, { signal: AbortSignal.abort(why) })), why)
    assert.equal(manager.stats.connects, 0)
    await using other = open()
    {
      await using _term = await leading(other)
      const abort = new AbortController()
      const waiting = lead(side, NAME, work, { signal: abort.signal, retryMillis: 20 })
      await moment()
      abort.abort(why)
      assert.equal(await reason(waiting), why)
    }
    await moment()
    assert.equal(await locks(), 0)
    const abort = new AbortController()
    await using term = new Term(side, NAME, { signal: abort.signal })
    const leader = await term.leads()
    abort.abort(why)
    assert.equal(leader.signal.reason, why)
    await moment()
    // The old work is still at it, so nobody else may.
    assert.equal(term.isSettled, false)
    assert.equal(await locks(), 1)
    term.finish()
    assert.equal(await term.ended(), why)
    assert.equal(await locks(), 0)
  })

  test(`close() ends it, and it is led again; end() ends it for good: on ${face}`, async () => {
    await using manager = open()
    await using term = new Term(sideOf(manager), NAME)
    const first = await term.leads()
    const closed = manager.close()
    // In the same tick: before the server can have given the lock to others.
    if (face === 'the own thread') assert.equal(first.signal.aborted, true)
    assert.match((await lossOf(first)).message, /was lost: the connection was closed$/)
    await closed
    assert.equal(await locks(), 0)
    term.finish()
    const second = await term.leads(2)
    assert.ok(second.epoch > first.epoch)
    await using waiting = new Term(sideOf(manager), NAME)
    await settle()
    await manager.end()
    assert.ok((await lossOf(second)) instanceof ManagerEndedError)
    assert.ok((await waiting.ended()) instanceof ManagerEndedError)
    assert.equal(term.isSettled, false)
    term.finish()
    assert.ok((await term.ended()) instanceof ManagerEndedError)
    await caught(
      lead(manager, NAME, () => {}),
      ManagerEndedError,
    )
  })
}

/** One of a manager's that leads. */
async function leading(manager: Manager, name = NAME): Promise<Term> {
  const term = new Term(manager, name)
  await term.leads()
  return term
}

test('of several managers one leads, and another follows when it has done', async () => {
  await using one = open()
  await using two = open()
  await using first = await leading(one)
  await using second = new Term(two, NAME)
  await moment()
  assert.equal(second.leaders.length, 0)
  first.finish()
  const { epoch } = await second.leads()
  assert.ok(epoch > first.leaders[0]!.epoch)
  assert.equal(first.leaders.length, 1)
})

test('a name in one manager and its workers is one queue, in order of asking; another name is another queue', async () => {
  await using manager = open()
  await using puppet = await Puppet.start(manager)
  let at = 0
  const enter = async ({ epoch }: Leader): Promise<void> => {
    epochs.push(epoch)
    assert.equal(++at, 1, 'two lead at the same time')
    await settle()
    at--
  }
  const epochs: bigint[] = []
  const gate = createGate()
  const first = lead(manager, NAME, async (leader) => {
    await enter(leader)
    await gate.opened
  })
  await until(() => epochs.length === 1, { what: 'the first to lead' })
  const second = puppet.ask('lead', { texts: [NAME], millis: 50 })
  // What the worker says has arrived when it has been answered.
  await puppet.ask('one-shot', { texts: ['SELECT 1'] })
  const third = lead(attach(share(manager)), NAME, enter)
  await settle()
  await manager.query('SELECT 1')
  const fourth = lead(manager, NAME, enter)
  await lead(manager, 'another name', () => {})
  assert.equal(epochs.length, 1)
  gate.open()
  const [, epochOfWorker] = await within(Promise.all([first, second, third, fourth]), 'all to have led')
  epochs.splice(1, 0, BigInt(epochOfWorker as string))
  assert.deepEqual(
    epochs,
    [...epochs].sort((a, b) => (a < b ? -1 : 1)),
  )
  assert.equal(epochs.length, 4)
  assert.equal(manager.stats.connects, 1)
})

test('what with() gives stands in the same queue', async () => {
  await using manager = open()
  await using first = await leading(manager)
  await using second = new Term(manager.with({ settings: { 'app.tenant': 'one' } }), NAME)
  await moment()
  assert.equal(second.leaders.length, 0)
  first.finish()
  assert.ok((await second.leads()).epoch > first.leaders[0]!.epoch)
})

test('who leads holds no turn', async () => {
  await using manager = open()
  await using _term = await leading(manager)
  assert.equal(manager.stats.held, false)
  await manager.transaction((connection) => connection.query('SELECT 1'))
  const { rows } = await manager.query('SELECT 1 AS one')
  assert.deepEqual(rows, [{ one: 1 }])
})

test('work that ends as its signal tells it to is run again; what it throws else is its failure', async () => {
  await using manager = open()
  const kill = async (): Promise<void> => admin.terminate(manager.stats.processID!)
  let times = 0
  await lead(manager, NAME, async ({ signal }) => {
    if (++times === 3) return
    const waiting =
      times === 1
        ? sleep(60_000, undefined, { signal })
        : until(() => signal.aborted, { what: 'the abort' }).then(() => signal.throwIfAborted())
    await Promise.all([waiting, kill()])
  })
  assert.equal(times, 3)
  const failure = new Error('of its own')
  const thrown = await reason(
    lead(manager, NAME, async (leader) => {
      await kill()
      await lossOf(leader)
      throw failure
    }),
  )
  assert.equal(thrown, failure)
})

/** What gives locks back, on the same connection. */
const UNLOCKS: Readonly<Record<string, (manager: Manager) => Promise<unknown>>> = {
  'DISCARD ALL': (manager) => manager.query('DISCARD ALL'),
  'discard all of a holder': (manager) =>
    manager.use((connection) => connection.query('discard all'), { autocommit: true }),
  'pg_advisory_unlock_all()': (manager) => manager.query('SELECT pg_advisory_unlock_all()'),
  'a batch': (manager) => manager.batch(['SELECT 1', 'SELECT pg_advisory_unlock_all()', 'SELECT 2']),
  'a text that fails behind it': (manager) =>
    manager.query('SELECT pg_advisory_unlock_all(), 1 / (pg_backend_pid() * 0)').catch(() => {}),
  'its own key': (manager) =>
    manager.query("SELECT pg_advisory_unlock(hashtextextended('pg-managed-connection/' || $1, 0))", [NAME]),
  'a block of code': (manager) => manager.query('DO $$BEGIN PERFORM pg_advisory_unlock_all(); END$$'),
}

for (const [what, unlock] of Object.entries(UNLOCKS)) {
  test(`behind ${what} it leads no more`, async () => {
    await using manager = open()
    await using term = await leading(manager)
    await unlock(manager)
    const loss = await lossOf(term.leaders[0]!)
    assert.match(loss.message, /was lost: the session does not have its advisory lock any more$/)
    term.finish()
    assert.ok((await term.leads(2)).epoch > term.leaders[0]!.epoch)
    assert.equal(manager.stats.connects, 1)
    assert.equal(await locks(), 1)
  })
}

test('a text that gives back a lock of somebody else is looked into, and it leads on', async () => {
  await using manager = open()
  await using term = await leading(manager)
  await manager.query('SELECT pg_advisory_lock(1), pg_advisory_lock(1, 2)')
  await manager.query('SELECT pg_advisory_unlock(1)')
  await manager.use((connection) => connection.query('SELECT pg_advisory_unlock(1, 2)'), { autocommit: true })
  await Promise.all(Array.from({ length: 20 }, () => manager.query('SELECT pg_advisory_unlock(3)')))
  await manager.query('DISCARD TEMP')
  await manager.transaction((connection) => connection.query("SELECT 'discard all'"))
  await moment()
  assert.equal(term.leaders[0]!.signal.aborted, false)
  assert.equal(await locks(), 1)
})

test('in a transaction it cannot be looked into, so it leads no more; afterwards it has the lock once', async () => {
  await using manager = open()
  await using term = await leading(manager)
  await manager.transaction(async (connection) => {
    await connection.query('SELECT pg_advisory_unlock(1)')
    assert.match((await lossOf(term.leaders[0]!)).message, /could not be looked up/)
    await connection.query('SELECT 1')
  })
  term.finish()
  await term.leads(2)
  term.finish()
  assert.equal(await term.ended(), undefined)
  assert.equal(await locks(), 0)
})

test('a lock that went unseen is missed at the next heartbeat, also while others are busy', async () => {
  for (const busy of [false, true]) {
    await using manager = open({ heartbeatMillis: 50 })
    await manager.query(`
      CREATE OR REPLACE FUNCTION quietly() RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_unlock_all()'`)
    await using term = await leading(manager)
    await moment()
    assert.equal(term.leaders[0]!.signal.aborted, false)
    await manager.query('SELECT quietly()')
    let isOver = !busy
    const tasks = Array.from({ length: 8 }, async () => {
      while (!isOver) await manager.query('SELECT 1')
    })
    await lossOf(term.leaders[0]!)
    isOver = true
    await Promise.all(tasks)
  }
})

test('a heartbeat disturbs no transaction: in one it is a Sync and nothing else', async () => {
  await using wire = await openConnected(database, { heartbeatMillis: 20 })
  const { manager, recording } = wire
  await using term = await leading(manager)
  recording.clear()
  await until(() => recording.sent().some((message) => message.includes('pg_locks')), { what: 'a look' })
  await manager.use(async (connection) => {
    await connection.query('BEGIN')
    recording.clear()
    await until(() => recording.sent().length > 3, { what: 'some beats' })
    assert.deepEqual([...new Set(recording.sent())], ['Sync'])
    // Nothing has taken the snapshot.
    await connection.query('SET TRANSACTION ISOLATION LEVEL SERIALIZABLE')
    await connection.commit()
  })
  assert.equal(term.leaders[0]!.signal.aborted, false)
})

test('a path that has gone deaf: the signal aborts, and the session that the server still has is ended', async () => {
  await using wire = await openConnected(database, { heartbeatMillis: 100 })
  const { manager, proxy } = wire
  await using term = await leading(manager)
  const { processID } = manager.stats
  const [link] = proxy.connections
  proxy.onChunk = (_direction, chunk, connection) => (connection === link ? null : chunk)
  await lossOf(term.leaders[0]!)
  term.finish()
  await term.leads(2)
  assert.notEqual(manager.stats.processID, processID)
})

test('a session that the server has not missed is ended by the next one', async () => {
  await using wire = await openConnected(database)
  const { manager, proxy } = wire
  await using term = await leading(manager)
  const { processID } = manager.stats
  proxy.cut('half open')
  await lossOf(term.leaders[0]!)
  assert.equal(await locks(), 1)
  assert.ok((await admin.backends()).includes(processID!))
  term.finish()
  assert.ok((await term.leads(2)).epoch > term.leaders[0]!.epoch)
  assert.ok(!(await admin.backends()).includes(processID!))
})

test("reset: 'session' leaves who leads the lock, and nobody else any", async () => {
  await using manager = open({ reset: 'session' })
  await using term = await leading(manager)
  await using other = await leading(manager, "it's another")
  const grab =
    'SELECT pg_advisory_lock(7), pg_advisory_lock(7), pg_advisory_lock_shared(8), pg_advisory_lock(7, 8)'
  await manager.use((connection) => connection.query(grab), { autocommit: true })
  await manager.transaction((connection) => connection.query(grab))
  await manager.query(grab)
  const count = async (): Promise<number> => {
    const [row] = await admin.rows<{ n: number }>(
      "SELECT count(*)::int AS n FROM pg_locks WHERE locktype = 'advisory' AND pid = $1",
      [manager.stats.processID],
    )
    return row!.n
  }
  await until(async () => (await count()) === 2, { what: 'others to have no lock' })
  assert.equal(await locks(), 1)
  assert.equal(await locks("it's another"), 1)
  for (const { leaders } of [term, other]) assert.equal(leaders[0]!.signal.aborted, false)
  // Once: one who gives it back has it no more.
  term.finish()
  await term.ended()
  await until(async () => (await count()) === 1, { what: 'the lock to be given back' })
})

test('what a reset finds lost is not taken again in silence', async () => {
  await using manager = open({ reset: 'session', heartbeatMillis: 50 })
  await manager.query(`
    CREATE OR REPLACE FUNCTION quietly() RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_unlock_all()'`)
  await using term = await leading(manager)
  await manager.query('SELECT quietly()')
  await lossOf(term.leaders[0]!)
})

test('maxLifetimeMillis and idleTimeoutMillis wait for who leads, and not for longer', async () => {
  await using manager = open({ maxLifetimeMillis: 100, idleTimeoutMillis: 50 })
  await using term = await leading(manager)
  const { processID } = manager.stats
  await sleep(200)
  await manager.query('SELECT 1')
  await sleep(100)
  assert.equal(manager.stats.processID, processID)
  assert.equal(term.leaders[0]!.signal.aborted, false)
  term.finish()
  await term.ended()
  await until(() => manager.closed, { what: 'the old connection to be closed' })
})

test('who stands by keeps the connection, whose idle time is shorter than its patience', async () => {
  await using one = open()
  await using two = open({ idleTimeoutMillis: 20 })
  await using _first = await leading(one)
  await using second = new Term(two, NAME, { retryMillis: 200 })
  await sleep(500)
  assert.equal(two.stats.connects, 1)
  assert.equal(second.leaders.length, 0)
})

test('inside of a callback that holds the connection it is refused, and in a sandbox', async () => {
  await using manager = open()
  await manager.use(async () => {
    for (const asked of [manager, manager.with({ label: 'of the same connection' })]) {
      const error = await caught(
        lead(asked, NAME, () => {}),
        ReentrantAcquireError,
      )
      assert.match(error.message, /call it outside of that callback$/)
    }
  })
  await using sandbox = await openSandbox(manager)
  const refused = await reason(lead(sandbox, NAME, () => {}))
  assert.equal((refused as { code?: string }).code, 'ERR_SANDBOX')
  assert.match((refused as Error).message, /give lead\(\) the manager itself/)
})

test('a lock that went with its session is not given back on a new one', async () => {
  await using manager = open()
  await using term = await leading(manager)
  const connection = await manager.acquire()
  term.finish()
  await until(() => manager.stats.waiting === 1, { what: 'the lock to be given back' })
  const closed = manager.close()
  await connection.release()
  await closed
  assert.equal(await term.ended(), undefined)
  assert.equal(manager.closed, true)
  assert.equal(manager.stats.connects, 1)
})

test('a session that is read only by default leads as well', async () => {
  await using manager = open({
    onConnect: (client) => client.query('SET default_transaction_read_only TO on'),
  })
  await lead(manager, NAME, ({ epoch }) => assert.ok(epoch > 0n))
})

test('what it is given is checked', async () => {
  await using manager = open()
  const work = (): void => {}
  const asked = lead as unknown as (...given: unknown[]) => Promise<void>
  for (const wrong of [
    [{}, NAME, work],
    [manager, '', work],
    [manager, 'a\0b', work],
    [manager, 7, work],
    [manager, NAME, 'work'],
    [manager, NAME, function* () {}],
    [manager, NAME, work, null],
    [manager, NAME, work, { signal: 'stop' }],
  ])
    await caught(asked(...wrong), TypeError)
  const { message } = await caught(asked(manager, NAME, work, { retryMilis: 5 }), TypeError)
  assert.equal(message, 'lead() has no option "retryMilis"; did you mean "retryMillis"?')
  for (const retryMillis of [0, -1, Infinity, NaN, '1'])
    await caught(asked(manager, NAME, work, { retryMillis }), RangeError)
  assert.equal(manager.stats.connects, 0)
})

test('where the pooler is known to be one it is refused at once', async () => {
  await using manager = open({ pooler: 'transaction' })
  const { message } = await caught(
    lead(manager, NAME, () => {}),
    UnsupportedServerError,
  )
  assert.match(message, /^lead\(\) needs the same server session .* pooler: 'session'/)
})

test('a server that is not there at the beginning is an error', async () => {
  await using manager = openManager(`host=127.0.0.1 port=${await freePort()}`)
  await caught(
    lead(manager, NAME, () => {}),
    ConnectError,
  )
})

for (const how of ['exit', 'throw', 'terminate', 'close'] as const) {
  test(`a worker that leads and ends (${how}) leads no more`, async () => {
    await using manager = open()
    await using puppet = await Puppet.start(manager)
    void puppet.ask('lead', { texts: [NAME], millis: 60_000 }).catch(() => {})
    await until(async () => (await locks()) === 1, { what: 'the worker to lead' })
    // Another of its own stands by.
    void puppet.ask('lead', { texts: [NAME], millis: 60_000 }).catch(() => {})
    await puppet.ask('one-shot', { texts: ['SELECT 1'] })
    await using term = new Term(manager, NAME)
    await moment()
    assert.equal(term.leaders.length, 0)
    await puppet.end(how)
    await term.leads()
  })
}

test('a worker that detaches leads no more, nor waits to', async () => {
  await using manager = open()
  const side = attach(share(manager))
  await using first = await leading(side)
  await using second = new Term(side, NAME)
  await within(side.end(), 'the end')
  assert.ok((await lossOf(first.leaders[0]!)) instanceof ManagerEndedError)
  assert.ok((await second.ended()) instanceof ManagerEndedError)
  first.finish()
  assert.ok((await first.ended()) instanceof ManagerEndedError)
  await using third = await leading(manager)
  assert.equal(third.leaders.length, 1)
})
