/**
 * What a traced program does with a manager, one scene after the other, and whose each of its statements is. Nothing
 * is imported here but types: which tracing is loaded before what, and by which module system, is the point.
 */
import type * as library from 'pg-managed-connection'
import type * as otel from 'pg-managed-connection/otel'
import type * as pool from 'pg-managed-connection/pool'
import type * as worker from 'pg-managed-connection/worker'
import type { Connection, ManagedConnection } from 'pg-managed-connection'
import type { CursorLike } from '../submittables.js'

/** What a program has loaded, by `import` or `require()`. */
export interface Loaded {
  readonly library: typeof library
  readonly pool: typeof pool
  readonly otel: typeof otel
  readonly worker: typeof worker
  readonly Cursor: new (text: string) => CursorLike
}

/** Runs `work` in a span of that name. */
export type InSpan = <T>(name: string, work: () => Promise<T>) => Promise<T>

interface Stage extends Loaded {
  readonly manager: ManagedConnection
  /** Makes another manager, which is watched like this one. */
  readonly open: () => ManagedConnection
  readonly inSpan: InSpan
}

interface Scene {
  readonly play: (stage: Stage) => Promise<unknown>
  /** The statements that are sent in each caller's span. */
  readonly statements: Readonly<Record<string, readonly string[]>>
}

const MANY = Array.from({ length: 20 }, (_, index) => index)

const SCENES: Readonly<Record<string, Scene>> = {
  'the statement that opens the connection': {
    play: ({ manager, inSpan }) => inSpan('opens', () => manager.query('SELECT 1')),
    statements: { opens: ['SELECT 1'] },
  },
  'one-shots in a pipeline': {
    play: async ({ manager, inSpan }) => {
      const ask = (n: number) => inSpan(`one-shot ${n}`, () => manager.query(`SELECT ${n} AS n`))
      const asked = Promise.all(MANY.map(ask))
      await nextTick()
      expect(manager.stats.inFlight, MANY.length, 'statements on their way at once')
      expect(
        (await asked).map(({ rows }) => rows[0].n as unknown),
        MANY,
        'answers',
      )
    },
    statements: Object.fromEntries(MANY.map((n) => [`one-shot ${n}`, [`SELECT ${n} AS n`]])),
  },
  'one-shots and a turn behind a holder': {
    play: async ({ manager, inSpan }) => {
      const holder = await inSpan('holder', () => manager.acquire())
      const asked = [
        inSpan('waits 1', () => manager.query('SELECT 101')),
        inSpan('waits 2', () => manager.query('SELECT $1::int', [102])),
        inSpan('waits 3', () => manager.transaction((connection) => connection.query('SELECT 103'))),
        inSpan('waits 4', () => manager.batch(['SELECT 104', 'SELECT 105'])),
      ]
      await inSpan('releaser', () => holder.release())
      await Promise.all(asked)
    },
    statements: {
      'waits 1': ['SELECT 101'],
      'waits 2': ['SELECT $1::int'],
      'waits 3': ['SELECT 103'],
      'waits 4': ['SELECT 104', 'SELECT 105'],
    },
  },
  turns: {
    play: async ({ manager, inSpan }) => {
      const turn = (n: number) =>
        manager.transaction(async (connection) => {
          await Promise.all([connection.query(`SELECT ${n}`), connection.query(`SELECT ${n + 1}`)])
          await connection.transaction((nested) => nested.query(`SELECT ${n + 2}`))
        })
      await Promise.all([201, 211, 221].map((n) => inSpan(`turn ${n}`, () => turn(n))))
    },
    statements: Object.fromEntries(
      [201, 211, 221].map((n) => [`turn ${n}`, [n, n + 1, n + 2].map((one) => `SELECT ${one}`)]),
    ),
  },
  'a span inside of a turn': {
    play: ({ manager, inSpan }) =>
      inSpan('turn', () =>
        manager.use(async (connection: Connection) => {
          await inSpan('inside', () => connection.query('SELECT 301'))
          await connection.query('SELECT 302')
          await connection.commit()
        }),
      ),
    statements: { inside: ['SELECT 301'], turn: ['SELECT 302'] },
  },
  'the names of statements': {
    play: async ({ manager, inSpan }) => {
      for (const n of [1, 2]) {
        const { rows } = await inSpan(`named ${n}`, () =>
          manager.query<{ n: number }>({ name: 'named', text: 'SELECT $1::int AS n', values: [n] }),
        )
        expect(rows, [{ n }], 'the answer')
      }
    },
    statements: { 'named 1': ['SELECT $1::int AS n'], 'named 2': ['SELECT $1::int AS n'] },
  },
  'what fails': {
    play: async ({ manager, inSpan }) => {
      const codes = [
        await codeOf(inSpan('fails', () => manager.query('SELECT 401/0'))),
        await codeOf(
          inSpan('fails in a turn', () => manager.transaction((one) => one.query('SELECT 402/0'))),
        ),
        await codeOf(
          inSpan('takes too long', () => manager.query({ text: 'SELECT pg_sleep(403)', timeoutMillis: 30 })),
        ),
      ]
      expect(codes, ['22012', '22012', 'ERR_STATEMENT_TIMEOUT'], 'the errors')
    },
    statements: {
      fails: ['SELECT 401/0'],
      'fails in a turn': ['SELECT 402/0'],
      'takes too long': ['SELECT pg_sleep(403)'],
    },
  },
  'cursors and streams': {
    play: async ({ manager, inSpan, Cursor }) => {
      await inSpan('reads', () =>
        manager.use(async (connection) => {
          const cursor = connection.query(new Cursor('SELECT generate_series(1, 501) AS n'))
          expect((await cursor.read(500)).length, 500, 'rows of the cursor')
          await cursor.close()
          let rows = 0
          for await (const _row of connection.stream('SELECT generate_series(1, 502) AS n')) rows++
          expect(rows, 502, 'rows of the stream')
          await connection.rollback()
        }),
      )
    },
    statements: {
      reads: ['SELECT generate_series(1, 501) AS n', 'SELECT generate_series(1, 502) AS n'],
    },
  },
  notifications: {
    play: async ({ manager, inSpan }) => {
      const subscription = await inSpan('listens', () => manager.listen('traced'))
      const heard = inSpan('hears', async () => {
        for await (const one of subscription) {
          expect(one.type === 'gap' ? 'a gap' : one.channel, 'traced', 'what is heard')
          await manager.query('SELECT 601')
          await subscription[Symbol.asyncDispose]()
        }
      })
      await inSpan('notifies', () => manager.query("SELECT pg_notify('traced', '')"))
      await heard
    },
    statements: { hears: ['SELECT 601'], notifies: ["SELECT pg_notify('traced', '')"] },
  },
  'a pool': {
    play: async ({ manager, inSpan, pool: { asPool } }) => {
      const shared = asPool(manager)
      await inSpan('asks the pool', () => shared.query('SELECT 701'))
      await inSpan('has a client', async () => {
        const client = await shared.connect()
        for (const text of ['BEGIN', 'SELECT 702', 'COMMIT']) await client.query(text)
        client.release()
      })
      await inSpan(
        'has a callback',
        () => new Promise((done) => shared.query('SELECT 703', () => done(null))),
      )
    },
    statements: {
      'asks the pool': ['SELECT 701'],
      'has a client': ['BEGIN', 'SELECT 702', 'COMMIT'],
      'has a callback': ['SELECT 703'],
    },
  },
  'a connection that is replaced': {
    play: async ({ manager, open, inSpan }) => {
      const processID = manager.stats.processID!
      await inSpan('ends it', async () => {
        const other = open()
        await other.query('SELECT pg_terminate_backend($1)', [processID])
        await other.end()
      })
      const { rows } = await inSpan('does not notice', () =>
        manager.transaction((connection) => connection.query<{ n: number }>('SELECT 801 AS n')),
      )
      expect(rows, [{ n: 801 }], 'the answer')
      expect(manager.stats.connects, 2, 'connections')
    },
    statements: {
      'ends it': ['SELECT pg_terminate_backend($1)'],
      'does not notice': ['SELECT 801 AS n'],
    },
  },
  'a manager that is made in a span': {
    play: async ({ open, inSpan }) => {
      const other = await inSpan('makes', () => Promise.resolve(open()))
      await inSpan('uses it first', () => other.query('SELECT 851'))
      await other.close()
      await inSpan('uses it later', () => other.query('SELECT 852'))
      await other.end()
    },
    statements: { 'uses it first': ['SELECT 851'], 'uses it later': ['SELECT 852'] },
  },
}

/** Whose each statement is, in every scene. */
export const STATEMENTS: Readonly<Record<string, readonly string[]>> = Object.assign(
  {},
  ...Object.values(SCENES).map(({ statements }) => statements),
)

/** Those that fail. */
export const FAILING: readonly string[] = ['SELECT 401/0', 'SELECT 402/0', 'SELECT pg_sleep(403)']

/** Plays every scene. What does not go as it would untraced is an error, which says in which scene. */
export async function play(stage: Stage): Promise<void> {
  for (const [title, scene] of Object.entries(SCENES)) {
    try {
      await scene.play(stage)
    } catch (error) {
      throw new Error(`in the scene of ${title}`, { cause: error })
    }
  }
}

function expect(seen: unknown, wanted: unknown, what: string): void {
  const [one, other] = [JSON.stringify(seen), JSON.stringify(wanted)]
  if (one !== other) throw new Error(`${what}: ${one} and not ${other}`)
}

async function codeOf(failing: Promise<unknown>): Promise<unknown> {
  return failing.then(
    () => null,
    (error: unknown) => (error as { code?: unknown }).code,
  )
}

function nextTick(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
