/** Signals cover the whole call; they cost its neighbours nothing, and an abort hits nobody else. */
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import type { Connection } from 'pg-managed-connection'
import { assertSame, createGate, outcome } from '../support/caught.js'
import { ManagedConnection } from '../support/managed.js'
import { openConnected } from '../support/proxied.js'
import { Random } from '../support/random.js'
import { openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'

const { test, database } = await openSuite()
await database.admin.query('CREATE TABLE IF NOT EXISTS log (n int PRIMARY KEY)')

test(
  'reads travel behind a statement with a signal; a write waits for its answer',
  { needs: ['wire'] },
  async () => {
    await using wire = await openConnected(database, { prepare: false })
    const { manager, recording } = wire
    const { signal } = new AbortController()
    const asked = [
      manager.query({ text: 'SELECT 1, pg_sleep(0.05)', signal }),
      manager.query({ text: 'SELECT 2', signal }),
      manager.query('SELECT 3'),
      manager.query('INSERT INTO log VALUES (-1)'),
      manager.query('SELECT 4'),
    ]
    await within(Promise.all(asked), 'all')
    const pieces = recording.sentTogether().map((piece) => piece.filter((line) => line.startsWith('Parse ')))
    assert.deepEqual(pieces.flat(), [
      'Parse SELECT 1, pg_sleep(0.05)',
      'Parse SELECT 2',
      'Parse SELECT 3',
      'Parse INSERT INTO log VALUES (-1)',
      'Parse SELECT 4',
    ])
    const dialogue = recording.dialogue()
    const at = (text: string): number => dialogue.indexOf(`> Parse ${text}`)
    const answered = dialogue.indexOf('< ReadyForQuery I')
    assert.ok(at('SELECT 3') < answered, 'reads go at once')
    assert.ok(at('INSERT INTO log VALUES (-1)') > answered, 'a write does not')
    await manager.query('DELETE FROM log')
  },
)

test('what is no plain read stays behind', { needs: ['wire'] }, async () => {
  await using wire = await openConnected(database, { prepare: false })
  const { manager, recording } = wire
  await manager.query('CREATE SEQUENCE IF NOT EXISTS numbers')
  const texts = [
    "SELECT nextval('numbers')",
    "SELECT setval('numbers', 7)",
    'WITH w AS (INSERT INTO log VALUES (-2) RETURNING n) SELECT n FROM w',
    'SELECT n FROM log FOR UPDATE',
    'SELECT pg_advisory_lock_shared(1), pg_advisory_unlock_shared(1)',
    "SELECT set_config('app.x', '1', false)",
    'DELETE FROM log',
  ]
  for (const text of texts) {
    recording.clear()
    const { signal } = new AbortController()
    const slow = manager.query({ text: 'SELECT pg_sleep(0.03)', signal })
    await within(Promise.all([slow, manager.query(text)]), text)
    const dialogue = recording.dialogue()
    assert.ok(dialogue.indexOf(`> Parse ${text}`) > dialogue.indexOf('< ReadyForQuery I'), text)
  }
})

test(
  'a read that a CancelRequest hits in another’s place is sent again, and nobody sees it',
  { needs: ['wire'] },
  async () => {
    await using wire = await openConnected(database)
    const { manager, recording, proxy } = wire
    const abort = new AbortController()
    // The request is kept until the statement that it is meant for is over, and its neighbour runs.
    proxy.onChunk = (direction, chunk) => {
      if (direction === 'toServer' && chunk.length === 16) {
        proxy.onChunk = null
        setTimeout(() => void database.admin.query('SELECT pg_cancel_backend($1)', [pid]), 10)
        return null
      }
      return chunk
    }
    const pid = manager.stats.processID
    const slow = outcome(manager.query({ text: 'SELECT pg_sleep(0.06)', signal: abort.signal }))
    const next = manager.query("SELECT 'read' AS what, pg_sleep(0.2)")
    await until(() => recording.sent().some((line) => line.includes("'read'")), {
      what: 'the read to be sent',
    })
    abort.abort('enough')
    await within(slow, 'the slow one')
    const { rows } = await within(next, 'the read')
    assert.equal(rows[0].what, 'read')
  },
)

const ABORTS = Number(process.env['SIGNAL_ABORTS'] || 1_500)

test(
  'aborts among reads and writes: each hits its own, each write is stored once, and order holds',
  { needs: ['cancel', 'parallel'] },
  async () => {
    const seed = Number(process.env['SIGNAL_SEED'] || Date.now() % 2 ** 31)
    const random = new Random(seed)
    await using manager = new ManagedConnection(database.conninfo, { acquireTimeoutMillis: 120_000 })
    await manager.query('TRUNCATE log')
    const wrong: string[] = []
    const stored: number[] = []
    const refused: number[] = []
    let aborts = 0
    let asked = 0
    /** The highest write that was asked for and that nobody aborts. */
    let certain = 0
    const signalOrNone = (): { signal?: AbortSignal; reason: object | null } => {
      if (random.chance(0.5)) return { reason: null }
      const controller = new AbortController()
      if (random.chance(0.3)) return { signal: controller.signal, reason: null }
      const reason = { aborted: ++aborts }
      setTimeout(() => controller.abort(reason), random.below(12))
      return { signal: controller.signal, reason }
    }
    const read = async (): Promise<void> => {
      const { signal, reason } = signalOrNone()
      const [least, most] = [certain, asked]
      const sleeps = random.chance(0.1) ? ', pg_sleep(0.004)' : ''
      const text = `SELECT coalesce(max(n), 0) AS n${sleeps} FROM log`
      const settled = await outcome(manager.query<{ n: number }>({ text, signal }))
      if (settled.status === 'rejected') {
        if (settled.reason !== reason || reason === null) wrong.push(`a read got ${String(settled.reason)}`)
        return
      }
      const seen = settled.value.rows[0]!.n
      if (seen < least || seen > most) wrong.push(`a read saw ${seen}, not from ${least} to ${most}`)
    }
    const write = async (): Promise<void> => {
      const n = ++asked
      const { signal, reason } = signalOrNone()
      if (reason === null) certain = n
      const sleeps = random.chance(0.1) ? 'pg_sleep(0.004)' : 'now()'
      const settled = await outcome(
        manager.query({ text: `INSERT INTO log SELECT $1::int FROM ${sleeps}`, values: [n], signal }),
      )
      if (settled.status === 'fulfilled') stored.push(n)
      else if (settled.reason === reason && reason !== null) refused.push(n)
      else wrong.push(`a write got ${String(settled.reason)}`)
    }
    while (aborts < ABORTS) {
      await Promise.all(Array.from({ length: 60 }, () => (random.chance(0.8) ? read() : write())))
    }
    assert.deepEqual(wrong, [], `SIGNAL_SEED=${seed}`)
    const { rows } = await manager.query<{ n: number }>('SELECT n FROM log ORDER BY n')
    const found = new Set(rows.map(({ n }) => n))
    assert.deepEqual(
      stored.filter((n) => !found.has(n)),
      [],
    )
    assert.equal(manager.stats.connects, 1)
    assert.ok(refused.length > 0 && stored.length > 0)
    assert.deepEqual(
      refused.filter((n) => found.has(n)),
      [],
      'aborted, and stored',
    )
  },
)

/** What a call of each kind that holds the connection does with an aborted signal. */
const TURNS = {
  use: (manager: ManagedConnection, work: Work, signal: AbortSignal) => manager.use(work, { signal }),
  transaction: (manager: ManagedConnection, work: Work, signal: AbortSignal) =>
    manager.transaction(work, { signal }),
} as const

type Work = (connection: Connection) => unknown

for (const [verb, turn] of Object.entries(TURNS)) {
  for (const reason of [new Error('enough'), 'a string', null]) {
    test(
      `${verb}(): an abort (${String(reason)}) rejects at once, cancels what runs and rolls back`,
      { needs: ['cancel', 'parallel'] },
      async () => {
        await using manager = new ManagedConnection(database.conninfo)
        const pid = (await manager.query('SELECT pg_backend_pid() AS pid')).rows[0].pid
        const rollbacks: string[] = []
        manager.on('rollback', ({ reason: why }) => rollbacks.push(why))
        const abort = new AbortController()
        let handle: Connection | undefined
        const worked = createGate()
        const held = outcome(
          turn(
            manager,
            async (connection) => {
              handle = connection
              await connection.query('INSERT INTO log VALUES (-10)')
              // Who swallows it commits nothing all the same.
              await connection.query('SELECT pg_sleep(30)').catch(() => {})
              await connection.query('INSERT INTO log VALUES (-11)').catch(() => {})
              worked.open()
            },
            abort.signal,
          ),
        )
        await until(() => manager.stats.statement?.includes('pg_sleep'), { what: 'the statement to run' })
        const next = manager.query('SELECT pg_backend_pid() AS pid, count(*)::int AS n FROM log WHERE n < -9')
        abort.abort(reason)
        const settled = await within(held, 'the turn')
        assert.deepEqual(settled, { status: 'rejected', reason })
        assert.deepEqual((await within(next, 'the next')).rows, [{ pid, n: 0 }])
        await within(worked.opened, 'the work')
        const dead = await outcome(handle!.query('SELECT 1'))
        assert.equal(dead.status, 'rejected')
        if (reason instanceof Error) assertSame((dead as PromiseRejectedResult).reason, reason)
        assert.equal(handle!.status, 'unknown')
        assert.equal(manager.stats.connects, 1)
        assert.equal(manager.stats.rollbacksByReason.aborted, 1)
        if (rollbacks.length > 0) assert.deepEqual(rollbacks, ['aborted'])
      },
    )
  }

  test(`${verb}(): an abort while the work does something else rejects at once`, async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const abort = new AbortController()
    const inside = createGate()
    const end = createGate()
    const held = outcome(
      turn(
        manager,
        async (connection) => {
          await connection.query('INSERT INTO log VALUES (-10)')
          inside.open()
          await end.opened
        },
        abort.signal,
      ),
    )
    await inside.opened
    abort.abort('enough')
    assert.deepEqual(await within(held, 'the turn'), { status: 'rejected', reason: 'enough' })
    assert.deepEqual((await within(manager.query('SELECT n FROM log WHERE n = -10'), 'the next')).rows, [])
    end.open()
  })

  test(`${verb}(): a signal that aborted before, or while it waits, keeps the work from being begun`, async () => {
    await using manager = new ManagedConnection(database.conninfo)
    let begun = 0
    const before = outcome(turn(manager, () => begun++, AbortSignal.abort('before')))
    assert.deepEqual(await before, { status: 'rejected', reason: 'before' })
    const abort = new AbortController()
    await manager.use(async () => {
      const waiting = outcome(manager.transaction(() => begun++, { signal: abort.signal, detached: true }))
      abort.abort('meanwhile')
      assert.deepEqual(await within(waiting, 'the waiter'), { status: 'rejected', reason: 'meanwhile' })
    })
    assert.equal(begun, 0)
  })

  test(`${verb}(): a signal that aborts later has no effect, and nothing is left on it`, async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const abort = new AbortController()
    assert.equal(await turn(manager, () => 'done', abort.signal), 'done')
    await assert.rejects(
      turn(manager, () => Promise.reject(new Error('own')), abort.signal),
      /own/,
    )
    assert.equal(getEventListeners(abort.signal, 'abort').length, 0)
    abort.abort('later')
    assert.equal(manager.stats.rollbacksByReason.aborted, 0)
  })
}

test('once COMMIT has been sent the signal is ignored', { needs: ['wire'] }, async () => {
  await using wire = await openConnected(database)
  const { manager, proxy, recording } = wire
  for (const [n, options] of [
    [-20, {}],
    [-21, { groupCommit: true }],
    [-22, { close: true }],
  ] as const) {
    recording.clear()
    const abort = new AbortController()
    const paid = manager.transaction(
      async (connection) => {
        await connection.query('INSERT INTO log VALUES ($1)', [n])
        proxy.pause('toClient')
        return 'paid'
      },
      { signal: abort.signal, ...options },
    )
    await until(() => recording.sent().some((line) => line.includes('COMMIT')), { what: 'COMMIT' })
    abort.abort('too late')
    await new Promise((resolve) => setTimeout(resolve, 20))
    proxy.resume()
    assert.equal(await within(paid, 'the payment'), 'paid')
  }
  const { rows } = await manager.query('SELECT n FROM log WHERE n <= -20 ORDER BY n')
  assert.deepEqual(rows, [{ n: -22 }, { n: -21 }, { n: -20 }])
})

test(
  'a commit() of the holder’s is answered first, and what comes behind it is given up',
  { needs: ['wire'] },
  async () => {
    await using wire = await openConnected(database)
    const { manager, proxy, recording } = wire
    const abort = new AbortController()
    let committed = false
    const held = outcome(
      manager.use(
        async (connection) => {
          await connection.query('INSERT INTO log VALUES (-30)')
          proxy.pause('toClient')
          await connection.commit()
          committed = true
          await connection.query('INSERT INTO log VALUES (-31)')
          await connection.commit()
        },
        { signal: abort.signal },
      ),
    )
    await until(() => recording.sent().includes('Query COMMIT'), { what: 'COMMIT' })
    abort.abort('enough')
    proxy.resume()
    assert.deepEqual(await within(held, 'the turn'), { status: 'rejected', reason: 'enough' })
    assert.equal(committed, true)
    const { rows } = await manager.query('SELECT n FROM log WHERE n IN (-30, -31)')
    assert.deepEqual(rows, [{ n: -30 }])
  },
)

test('the backoff of retries ends, too', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const abort = new AbortController()
  let attempts = 0
  const tried = outcome(
    manager.transaction(
      async (connection) => {
        if (++attempts === 3) abort.abort('enough')
        await connection.query("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")
      },
      { retries: 1_000, signal: abort.signal },
    ),
  )
  assert.deepEqual(await within(tried, 'the transaction'), { status: 'rejected', reason: 'enough' })
  assert.equal(attempts, 3)
})

test('acquire() and tryAcquire(): what was granted is the holder’s, whatever the signal does', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  for (const verb of ['acquire', 'tryAcquire'] as const) {
    const abort = new AbortController()
    const connection = (await manager[verb]({ signal: abort.signal }))!
    abort.abort('enough')
    assert.deepEqual((await connection.query('SELECT 1 AS one')).rows, [{ one: 1 }])
    await connection.rollback()
    await connection.release()
  }
})

test(
  'what was sent behind a commit() of the holder’s is given up as soon as that is answered',
  { needs: ['cancel'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const abort = new AbortController()
    let committed: PromiseSettledResult<unknown> | undefined
    const held = outcome(
      manager.use(
        async (connection) => {
          await connection.query('INSERT INTO log VALUES (-40)')
          const commit = connection.commit()
          const behind = connection.query('SELECT pg_sleep(30)')
          abort.abort('enough')
          committed = await outcome(commit)
          await behind
        },
        { signal: abort.signal },
      ),
    )
    assert.deepEqual(await within(held, 'the turn'), { status: 'rejected', reason: 'enough' })
    assert.equal(committed?.status, 'fulfilled')
    assert.deepEqual((await manager.query('SELECT n FROM log WHERE n = -40')).rows, [{ n: -40 }])
  },
)

for (const reason of [new Error('enough'), 'a string', null]) {
  test(`a stream whose turn was aborted (${String(reason)}) ends with that, and not as if it were complete`, async () => {
    await using manager = new ManagedConnection(database.conninfo)
    for (const pauseMillis of [0, 50]) {
      const abort = new AbortController()
      let read: PromiseSettledResult<unknown> | undefined
      const over = createGate()
      const held = outcome(
        manager.transaction(
          async (connection) => {
            const rows = connection.stream('SELECT n FROM generate_series(1, 100000) AS n', [], {
              batchSize: 10,
            })
            let seen = 0
            const all = async (): Promise<void> => {
              for await (const _row of rows) {
                if (++seen !== 15) continue
                abort.abort(reason)
                await new Promise((resolve) => setTimeout(resolve, pauseMillis))
              }
            }
            read = await outcome(all())
            over.open()
          },
          { signal: abort.signal },
        ),
      )
      assert.deepEqual(await within(held, 'the turn'), { status: 'rejected', reason })
      await within(over.opened, 'the stream')
      assert.deepEqual(read, { status: 'rejected', reason })
    }
  })
}

test(
  'statements and nested transactions that the work did not wait for yet crash nobody',
  { needs: ['cancel'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const unhandled: unknown[] = []
    const note = (error: unknown): void => void unhandled.push(error)
    process.on('unhandledRejection', note)
    try {
      for (const ask of [
        (connection: Connection) => connection.query('SELECT pg_sleep(30)'),
        (connection: Connection) => connection.transaction((nested) => nested.query('SELECT pg_sleep(30)')),
      ]) {
        const abort = new AbortController()
        const held = outcome(
          manager.transaction(
            async (connection) => {
              const asked = ask(connection)
              await until(() => manager.stats.statement?.includes('pg_sleep'), { what: 'the statement' })
              abort.abort('enough')
              await new Promise((resolve) => setTimeout(resolve, 50))
              await asked
            },
            { signal: abort.signal },
          ),
        )
        assert.deepEqual(await within(held, 'the turn'), { status: 'rejected', reason: 'enough' })
        await new Promise((resolve) => setTimeout(resolve, 80))
      }
      assert.deepEqual(unhandled, [])
    } finally {
      process.off('unhandledRejection', note)
    }
  },
)
