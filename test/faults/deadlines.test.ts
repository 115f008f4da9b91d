/** Whatever the peer does, nothing that has a deadline outlives it by more than a second. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  ConnectError,
  ConnectionLostError,
  ManagedConnection,
  type Connection,
  type ManagedConnectionOptions,
} from 'pg-managed-connection'
import { openConnected, openProxied, type Proxied } from '../support/proxied.js'
import { openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'

const { test, database } = await openSuite()
const { admin } = database
await admin.query('CREATE TABLE rows (id int)')

/** The limit of everything here, and how much later it may settle. */
const LIMIT = 300
const LATE_MILLIS = 1_000

/** The error of a call, which has to come in time. */
async function inTime(call: Promise<unknown>, what: string, limit = LIMIT): Promise<Error> {
  const start = performance.now()
  // On a busy machine a plain timer is late, too; nothing here can be better than that.
  let due = limit
  const timer = setTimeout(() => (due = performance.now() - start), limit)
  const [outcome] = await within(Promise.allSettled([call]), what, 20_000)
  clearTimeout(timer)
  const millis = Math.round(performance.now() - start)
  assert.ok(millis <= due + LATE_MILLIS, `${what} settled after ${millis} ms, ${limit} were asked for`)
  assert.ok(outcome?.status === 'rejected', `${what} resolved`)
  return outcome.reason as Error
}

/** A peer that is no server: it accepts, and treats the connection as `treat` says. */
async function startPeer(treat: (socket: Socket) => void): Promise<Server & AsyncDisposable> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    socket.resume()
    treat(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const dispose = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  }
  return Object.assign(server, { [Symbol.asyncDispose]: dispose })
}

function portOf(server: Server): number {
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  return address.port
}

/** A notice of 100,000 bytes that will never be complete. */
const LONG_NOTICE = Buffer.from([0x4e, 0, 1, 0x86, 0xa0, 0x53])

const PEERS: Record<string, (socket: Socket) => void> = {
  'says nothing': () => {},
  'stops in the middle of a message': (socket) => socket.write(Buffer.from([0x52, 0, 0, 0, 8, 0])),
  'dribbles a byte now and then': (socket) => {
    socket.write(LONG_NOTICE)
    const timer = setInterval(() => socket.write('x'), 30)
    socket.on('close', () => clearInterval(timer))
  },
  'agrees to TLS and says nothing more': (socket) => socket.write('S'),
}

type Call = (manager: ManagedConnection, timeoutMillis: number) => Promise<unknown>

/** Whatever asks for the connection; `query` has the limit of the manager. */
const ASKS: Record<string, Call> = {
  use: (manager, timeoutMillis) => manager.use(() => {}, { timeoutMillis }),
  acquire: (manager, timeoutMillis) => manager.acquire({ timeoutMillis }),
  tryAcquire: (manager, timeoutMillis) => manager.tryAcquire({ timeoutMillis }),
  transaction: (manager, timeoutMillis) => manager.transaction(() => {}, { timeoutMillis }),
  batch: (manager, timeoutMillis) => manager.batch(['SELECT 1'], { timeoutMillis }),
  listen: (manager, timeoutMillis) => manager.listen('anything', { timeoutMillis }),
  query: (manager) => manager.query('SELECT 1'),
}

for (const [behaviour, treat] of Object.entries(PEERS)) {
  const sslmode = behaviour.includes('TLS') ? 'require' : 'disable'
  const parameters = (peer: Server) => ({ host: '127.0.0.1', port: portOf(peer), user: 'nobody', sslmode })

  test(`a peer that ${behaviour}: whoever asks gives up in time`, async () => {
    await using peer = await startPeer(treat)
    const asked = Object.entries(ASKS).map(async ([name, ask]) => {
      await using manager = new ManagedConnection(parameters(peer), { acquireTimeoutMillis: LIMIT })
      manager.on('endWaiting', () => {})
      const error = await inTime(ask(manager, LIMIT), name)
      assert.equal((error as { code?: string }).code, 'ERR_ACQUIRE_TIMEOUT', name)
    })
    await Promise.all(asked)
  })

  test(`a peer that ${behaviour}: connect_timeout bounds the attempt`, async () => {
    await using peer = await startPeer(treat)
    await using manager = new ManagedConnection({ ...parameters(peer), connectionTimeoutMillis: LIMIT })
    manager.on('endWaiting', () => {})
    const error = await inTime(manager.query('SELECT 1'), 'query')
    assert.ok(error instanceof ConnectError, String(error))
    assert.match(error.message, /timeout expired/)
  })

  test(`a peer that ${behaviour}: end() and an abort do not wait for it`, async () => {
    await using peer = await startPeer(treat)
    await using manager = new ManagedConnection(parameters(peer))
    manager.on('endWaiting', () => {})
    const asked = manager.query('SELECT 1')
    const aborted = manager.use(() => {}, { signal: AbortSignal.timeout(LIMIT) })
    const refused = inTime(asked, 'query', 2 * LIMIT)
    assert.equal((await inTime(aborted, 'use')).name, 'TimeoutError')
    await within(manager.end({ timeoutMillis: LIMIT }), 'end()', LIMIT + LATE_MILLIS)
    assert.equal(((await refused) as { code?: string }).code, 'ERR_MANAGER_ENDED')
  })
}

/** How much the server says until it has let us in; each version has more to say. */
async function loginBytes(): Promise<number> {
  await using wire = await openProxied(database)
  const connection = await wire.manager.acquire()
  const { toClient } = wire.proxy.bytes
  await connection.release()
  return toClient
}

test('a server that goes deaf while it lets us in, at any of its messages: whoever asks gives up in time', async () => {
  const whole = await loginBytes()
  const spoken = [0, 1, 9, 20, 100, 200, 300, whole - 1].filter((bytes) => bytes < whole)
  await Promise.all(
    spoken.map(async (bytes) => {
      await using wire = await openProxied(database)
      wire.proxy.cutAfter({ direction: 'toClient', bytes, how: 'deaf' })
      await inTime(wire.manager.acquire({ timeoutMillis: LIMIT }), `acquire, deaf after ${bytes} bytes`)
    }),
  )
})

test('a name look-up that stalls: whoever asks gives up in time, and its late answer opens nothing', async () => {
  await using peer = await startPeer(() => assert.fail('somebody connected'))
  await using lookUps = await stallLookUps()
  const stalled = { host: 'localhost', port: portOf(peer), user: 'nobody', sslmode: 'disable' }
  await using asked = new ManagedConnection(stalled)
  await using connecting = new ManagedConnection({ ...stalled, connectionTimeoutMillis: LIMIT })
  const [timedOut, expired] = await Promise.all([
    inTime(asked.acquire({ timeoutMillis: LIMIT }), 'acquire'),
    inTime(connecting.query('SELECT 1'), 'query'),
  ])
  assert.equal((timedOut as { code?: string }).code, 'ERR_ACQUIRE_TIMEOUT')
  assert.match(expired.message, /could not translate host name "localhost".*timeout expired/)
  await lookUps.answer()
})

/** The system's look-ups have a few threads; with all of them busy, a look-up stalls. */
async function stallLookUps(): Promise<{ answer(): Promise<void> } & AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), 'stalled-'))
  const pipe = join(folder, 'pipe')
  execFileSync('mkfifo', [pipe])
  const threads = Number(process.env['UV_THREADPOOL_SIZE'] || 4)
  // Who opens a pipe for reading waits for one who opens it for writing.
  const stalled = Promise.all(Array.from({ length: threads }, () => open(pipe, 'r')))
  const release = async (): Promise<void> => {
    execFileSync('sh', ['-c', ': > "$0"', pipe])
    for (const file of await stalled) await file.close()
    await rm(folder, { recursive: true })
  }
  let released: Promise<void> | null = null
  const answer = (): Promise<void> => (released ??= release())
  return { answer, [Symbol.asyncDispose]: answer }
}

/** A connection that is open, whose statements are bounded. */
function openBounded(options: ManagedConnectionOptions = {}): Promise<Proxied> {
  return openConnected(database, { statementTimeoutMillis: LIMIT, releaseGraceMillis: LIMIT, ...options })
}

/** What may happen to an open connection so that no answer comes in time. */
const FAULTS: Record<string, (wire: Proxied) => void> = {
  'goes deaf': ({ proxy }) => proxy.cut('deaf'),
  'goes deaf, for newcomers too': ({ proxy }) => proxy.pause(),
  'stops in the middle of a message': ({ proxy }) => {
    const plan = proxy.cutAfter({ direction: 'toClient', bytes: 3, how: 'deaf' })
    void plan.happened.then(() => proxy.pause('toClient'))
  },
  'dribbles a byte now and then': ({ proxy }) => {
    proxy.splitBytes = 1
    proxy.pieceMillis = 150
  },
}

const INSERT = 'INSERT INTO rows VALUES (1)'

/** What is under way when it happens, and what its caller hears. */
const STEPS: Record<
  string,
  { call: (manager: ManagedConnection, harm: () => void) => Promise<unknown>; hears: RegExp }
> = {
  'a one-shot': {
    call: (manager, harm) => {
      harm()
      return manager.query(INSERT)
    },
    hears: /^ERR_STATEMENT_TIMEOUT/,
  },
  'a batch': {
    call: (manager, harm) => {
      harm()
      return manager.batch([INSERT, INSERT])
    },
    hears: /^ERR_STATEMENT_TIMEOUT/,
  },
  'a LISTEN': {
    call: (manager, harm) => {
      harm()
      return manager.listen('deaf')
    },
    hears: /^ERR_CONNECTION_LOST/,
  },
  'the COMMIT of transaction()': {
    call: (manager, harm) =>
      manager.transaction(async (connection) => {
        await connection.query(INSERT)
        harm()
      }),
    hears: /^ERR_CONNECTION_LOST unknown/,
  },
  'commit()': {
    call: (manager, harm) =>
      manager.use(async (connection) => {
        await connection.query(INSERT)
        harm()
        await connection.commit()
      }),
    hears: /^ERR_CONNECTION_LOST unknown/,
  },
  'the BEGIN of a text that travels alone': {
    call: (manager, harm) =>
      manager.use((connection) => {
        harm()
        return connection.query('SELECT 1; SELECT 2')
      }),
    hears: /^ERR_(?:CONNECTION_LOST none|STATEMENT_TIMEOUT)/,
  },
  'rollback()': {
    call: (manager, harm) =>
      manager.use(async (connection) => {
        await connection.query(INSERT)
        harm()
        await connection.rollback()
      }),
    hears: /^ERR_CONNECTION_LOST none/,
  },
  'the ROLLBACK after a throw': {
    call: (manager, harm) =>
      manager.use(async (connection) => {
        await connection.query(INSERT)
        harm()
        throw Object.assign(new Error('its own'), { code: 'OWN' })
      }),
    hears: /^OWN/,
  },
  'the ROLLBACK of what was left open': {
    call: (manager, harm) =>
      manager.use(async (connection) => {
        await connection.query(INSERT)
        harm()
      }),
    hears: /^ERR_UNCOMMITTED_TRANSACTION/,
  },
  'a SAVEPOINT': {
    call: (manager, harm) => nested(manager, harm, () => Promise.resolve()),
    hears: /^ERR_CONNECTION_LOST none/,
  },
  'the RELEASE of a savepoint': {
    call: (manager, harm) =>
      nested(
        manager,
        () => {},
        async (inner) => {
          await inner.query(INSERT)
          harm()
        },
      ),
    hears: /^ERR_CONNECTION_LOST none/,
  },
  'the ROLLBACK TO of a savepoint': {
    call: (manager, harm) =>
      nested(
        manager,
        () => {},
        async (inner) => {
          await inner.query(INSERT)
          harm()
          throw Object.assign(new Error('its own'), { code: 'OWN' })
        },
      ),
    hears: /^OWN/,
  },
}

function nested(
  manager: ManagedConnection,
  before: () => void,
  work: (inner: Connection) => Promise<void>,
): Promise<void> {
  return manager.transaction(async (connection) => {
    await connection.query(INSERT)
    before()
    await connection.transaction(work)
  })
}

function describeError(error: Error): string {
  const { code = '' } = error as { code?: string }
  return error instanceof ConnectionLostError ? `${code} ${error.commitOutcome}` : `${code} ${error.message}`
}

for (const [fault, harm] of Object.entries(FAULTS)) {
  test(`a connection that ${fault}: every step ends in time, and the manager works again`, async () => {
    const steps = Object.entries(STEPS).map(async ([name, { call, hears }]) => {
      await using wire = await openBounded({ reconnectTimeoutMillis: 20_000 })
      const error = await inTime(
        call(wire.manager, () => harm(wire)),
        `${name}, on a connection that ${fault}`,
        // What a holder leaves behind has the release's time, too.
        2 * LIMIT,
      )
      assert.match(describeError(error), hears, `${name}, on a connection that ${fault}`)
      heal(wire)
      const { rows } = await wire.manager.query({ text: 'SELECT 1 AS one', timeoutMillis: 10_000 })
      assert.deepEqual(rows, [{ one: 1 }])
    })
    await Promise.all(steps)
  })
}

function heal({ proxy }: Proxied): void {
  proxy.splitBytes = Infinity
  proxy.pieceMillis = 0
  proxy.resume()
}

test('the time of a COMMIT begins when what was sent before it is answered', async () => {
  await using wire = await openBounded()
  await wire.manager.use(async (connection) => {
    const slow = connection.query({ text: 'SELECT pg_sleep(0.8)', timeoutMillis: 10_000 })
    await Promise.all([slow, connection.commit()])
  })
  assert.equal(wire.manager.stats.connects, 1)
})

test('a COMMIT that is given up does not take the one behind it along', async () => {
  await using wire = await openBounded()
  const { manager, proxy } = wire
  const first = manager.transaction(async (connection) => {
    await connection.query(INSERT)
    proxy.cut('deaf')
  })
  const second = manager.transaction((connection) =>
    connection.query({ text: 'SELECT 1 AS one', timeoutMillis: 10_000 }),
  )
  assert.equal(describeError(await inTime(first, 'the COMMIT')), 'ERR_CONNECTION_LOST unknown')
  assert.deepEqual((await within(second, 'the next in line')).rows, [{ one: 1 }])
})

test('a ROLLBACK is bounded without any option, and its failure is an event', async () => {
  const wire = await openProxied(database, { releaseGraceMillis: 0 })
  await using _ = wire
  const { manager, proxy } = wire
  const rolledBack = once(manager, 'rollback')
  const own = new Error('its own')
  const held = manager.use(async (connection) => {
    await connection.query(INSERT)
    proxy.cut('deaf')
    throw own
  })
  // However short the grace is, an answer that only takes a moment is waited for.
  assert.equal(await inTime(held, 'use', 1_000), own)
  const [event] = (await rolledBack) as [{ error?: Error }]
  assert.match(String(event.error?.cause), /did not answer ROLLBACK within 1000ms/)
})

test('an unused connection that has gone deaf is found out before it is handed on', async () => {
  await using wire = await openBounded({ validateAfterIdleMillis: 0 })
  wire.proxy.cut('deaf')
  await inTime(wire.manager.acquire({ timeoutMillis: LIMIT }), 'acquire')
  const connection = await within(wire.manager.acquire(), 'the next ask', 5_000 + LATE_MILLIS)
  assert.equal(connection.status, 'idle')
  await connection.release()
})

test('close() and end() of a deaf connection take no more than their time', async () => {
  await using wire = await openBounded({ statementTimeoutMillis: 0 })
  const { manager, proxy } = wire
  proxy.cut('deaf')
  // A goodbye has a second.
  await within(manager.close(), 'close()', 1_000 + LATE_MILLIS)
  await manager.query('SELECT 1')
  proxy.cut('deaf')
  const unanswered = manager.query('SELECT 1').catch((error: Error) => error)
  const held = manager.use(() => {}).catch((error: Error) => error)
  await within(manager.end({ timeoutMillis: LIMIT }), 'end()', LIMIT + LATE_MILLIS)
  const lost = await within(unanswered, 'the unanswered query', LATE_MILLIS)
  assert.ok(lost instanceof ConnectionLostError && lost.commitOutcome === 'unknown', String(lost))
  assert.equal(
    ((await within(held, 'who waited', LATE_MILLIS)) as { code?: string }).code,
    'ERR_MANAGER_ENDED',
  )
})

test('a holder whose connection has gone deaf is out of its callback by the limit of end()', async () => {
  await using wire = await openBounded({ statementTimeoutMillis: 0, releaseGraceMillis: 60_000 })
  const { manager, proxy } = wire
  const held = manager.transaction(async (connection) => {
    proxy.cut('deaf')
    await connection.query(INSERT)
  })
  const lost = inTime(held, 'transaction', LIMIT)
  await within(manager.end({ timeoutMillis: LIMIT }), 'end()', LIMIT + LATE_MILLIS)
  assert.equal(describeError(await lost), 'ERR_CONNECTION_LOST none')
})

test('releaseGraceMillis may be Infinity: a cancelled statement then has all the time of the world', async () => {
  await using wire = await openProxied(database, { releaseGraceMillis: Infinity })
  const { manager } = wire
  await assert.rejects(manager.query({ text: 'SELECT pg_sleep(30)', timeoutMillis: 50 }), {
    code: 'ERR_STATEMENT_TIMEOUT',
  })
  await until(() => manager.stats.inFlight === 0, { what: 'the statement to be cancelled' })
  assert.equal(manager.stats.connects, 1)
})
