/** `close`, `end`, and how a process comes to its end. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { ConnectionLostError, ManagedConnectionError, ManagerEndedError } from 'pg-managed-connection'
import { caught, createGate, errorOf, outcome, settle } from '../support/caught.js'
import { toConninfo } from '../support/address.js'
import { ManagedConnection } from '../support/managed.js'
import { startProxy } from '../support/proxy.js'
import { pathOf } from '../support/root.js'
import { openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'

const { test, database } = await openSuite()

test(
  'close() closes after the present holder, before the next in line; the next use opens again',
  { needs: ['backends'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const gate = createGate()
    const order: string[] = []
    const holder = manager.use(async (connection) => {
      await gate.opened
      order.push('holder')
      return connection.processID
    })
    await until(() => manager.stats.held, { what: 'the holder' })
    const closing = manager.close().then(() => order.push('closed'))
    const next = manager.use((connection) => {
      order.push('next')
      return connection.processID
    })
    await settle()
    assert.deepEqual(order, [])
    gate.open()
    await Promise.all([holder, closing, next])
    assert.deepEqual(order, ['holder', 'closed', 'next'])
    assert.notEqual(await holder, await next)
    assert.equal(manager.closed, false)
  },
)

test('close() of what is closed, or was never open, resolves', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.close()
  await manager.query('SELECT 1')
  await Promise.all([manager.close(), manager.close()])
  await manager.close()
  assert.equal(manager.closed, true)
  assert.equal(manager.stats.disconnects, 1)
  assert.deepEqual((await manager.query('SELECT 1 AS n')).rows, [{ n: 1 }])
})

test('close() waits for one-shots and COMMITs that are unanswered', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.query('SELECT 1')
  const slow = manager.query('SELECT pg_sleep(0.1)')
  await Promise.all([slow, manager.close()])
  assert.equal(manager.closed, true)
  const gate = createGate()
  const committed = manager.transaction(async (connection) => {
    await connection.query('SELECT 1')
    await gate.opened
  })
  await until(() => manager.status === 'intrans', { what: 'the holder' })
  const closing = manager.close()
  gate.open()
  await Promise.all([committed, closing])
  assert.equal(manager.closed, true)
})

test('end() refuses new work, serves those who wait, and closes', { needs: ['own thread'] }, async () => {
  const manager = new ManagedConnection(database.conninfo)
  const gate = createGate()
  const order: string[] = []
  const holder = manager.use(() => gate.opened)
  const waiters = [
    manager.use(() => void order.push('use')),
    manager.query('SELECT 1').then(() => order.push('query')),
    manager.transaction((connection) => connection.query('SELECT 1')).then(() => order.push('transaction')),
    manager.batch(['SELECT 1']).then(() => order.push('batch')),
  ]
  await settle()
  const ending = manager.end().then(() => order.push('end'))
  await Promise.all([
    caught(
      manager.use(() => {}),
      ManagerEndedError,
    ),
    caught(manager.acquire(), ManagerEndedError),
    caught(manager.tryAcquire(), ManagerEndedError),
    caught(
      manager.transaction(() => {}),
      ManagerEndedError,
    ),
    caught(manager.query('SELECT 1'), ManagerEndedError),
    caught(manager.batch(['SELECT 1']), ManagerEndedError),
  ])
  gate.open()
  await within(Promise.all([holder, ...waiters, ending]), 'the end')
  assert.deepEqual(order, ['use', 'query', 'transaction', 'batch', 'end'])
  assert.equal(manager.closed, true)
})

test('end() refuses in the very moment that it was called', { needs: ['own thread'] }, async () => {
  const manager = new ManagedConnection(database.conninfo)
  const ending = manager.end()
  await caught(manager.query('SELECT 1'), ManagerEndedError)
  await ending
})

test('end() is idempotent, also while it is under way, and is what disposal calls', async () => {
  const manager = new ManagedConnection(database.conninfo)
  await manager.query('SELECT 1')
  await Promise.all([manager.end(), manager.end(), manager[Symbol.asyncDispose]()])
  await manager.end({ timeoutMillis: 0 })
  assert.equal(manager.closed, true)
  {
    await using other = new ManagedConnection(database.conninfo)
    await other.query('SELECT 1')
  }
  await until(async () => (await database.admin.backends()).length === 0, { what: 'the backends to go' })
})

test('end() of a manager that never connected resolves at once', async () => {
  await within(new ManagedConnection(database.conninfo).end(), 'the end', 1_000)
})

test(
  'end(): after timeoutMillis waiters get ManagerEndedError and the holder’s connection is dropped',
  { needs: ['kill'] },
  async () => {
    const manager = new ManagedConnection(database.conninfo)
    const gate = createGate()
    const holder = outcome(
      manager.use(async (connection) => {
        await connection.query('SELECT 1')
        await gate.opened
        await connection.commit()
      }),
    )
    const waiters = [
      outcome(manager.use(() => {})),
      outcome(manager.query('SELECT 1')),
      outcome(manager.acquire()),
    ]
    await until(() => manager.status === 'intrans', { what: 'the holder' })
    await within(manager.end({ timeoutMillis: 50 }), 'the end', 5_000)
    for (const waiter of await Promise.all(waiters)) {
      const error = errorOf(waiter)
      assert.ok(error instanceof ManagerEndedError)
      assert.match(error.message, /its turn had not come when 50ms were over$/)
    }
    assert.equal(manager.closed, true)
    await until(async () => (await database.admin.backends()).length === 0, { what: 'the backend to go' })
    gate.open()
    const error = errorOf(await holder)
    assert.ok(error instanceof ConnectionLostError, String(error))
    // A worker's manager is told by its owner.
    assert.match(error.message, /: (?:end\(\) has closed it, having waited 50ms|.* has ended its manager)$/)
  },
)

test('end() does not wait for ever on a handle that was never released', async () => {
  const manager = new ManagedConnection(database.conninfo)
  const leaked = await manager.acquire()
  await within(manager.end({ timeoutMillis: 30 }), 'the end', 5_000)
  await outcome(leaked.release())
  assert.equal(manager.closed, true)
})

test(
  'end() settles every promise, a statement that runs for ever included',
  { needs: ['kill'] },
  async () => {
    const manager = new ManagedConnection(database.conninfo)
    const running = outcome(manager.query('SELECT pg_sleep(60)'))
    const waiting = outcome(manager.use(() => {}))
    await until(() => manager.stats.inFlight === 1, { what: 'it to be sent' })
    await within(manager.end({ timeoutMillis: 50 }), 'the end', 5_000)
    for (const settled of [await running, await waiting]) {
      assert.ok(errorOf(settled) instanceof ManagedConnectionError, String(errorOf(settled)))
    }
    const [pid] = await database.admin.backends()
    if (pid !== undefined) await database.admin.terminate(pid)
  },
)

test(
  'end() while it connects to a server that says nothing settles within its time',
  { needs: ['wire'] },
  async () => {
    await using proxy = await startProxy(database.login)
    proxy.pause()
    const { host, port } = proxy
    const manager = new ManagedConnection(toConninfo({ ...database.login, host, port }, database.name))
    const waiting = outcome(manager.query('SELECT 1'))
    await until(() => proxy.connections.length === 1, { what: 'the attempt' })
    await within(manager.end({ timeoutMillis: 50 }), 'the end', 5_000)
    assert.ok(errorOf(await within(waiting, 'the waiter')) instanceof ManagerEndedError)
    proxy.resume()
    await until(() => proxy.connections.length === 0, { what: 'the attempt to be given up' })
  },
)

test('end() refuses a wrong timeoutMillis', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await assert.rejects(manager.end({ timeoutMillis: -1 }), /timeoutMillis/)
  await manager.query('SELECT 1')
})

test('a close() that waits is settled when the manager ends', async () => {
  const manager = new ManagedConnection(database.conninfo)
  await manager.query('SELECT 1')
  const leaked = await manager.acquire()
  const closing = manager.close()
  await manager.end({ timeoutMillis: 20 })
  await within(closing, 'close()')
  await outcome(leaked.release())
})

/** Runs a script in a process of its own and gives what it printed and how it ended. */
async function run(script: string): Promise<{ code: number | null; signal: string | null; output: string }> {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: pathOf(),
    env: { ...process.env, CONNINFO: database.conninfo },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const timer = setTimeout(() => child.kill('SIGKILL'), 15_000)
  try {
    return await new Promise((resolve) => {
      child.on('close', (code, signal) => resolve({ code, signal, output }))
    })
  } finally {
    clearTimeout(timer)
  }
}

const START = `
  import { ManagedConnection } from 'pg-managed-connection'
  const manager = new ManagedConnection(process.env.CONNINFO)
`

const FORGETFUL: Readonly<Record<string, string>> = {
  'query()': "console.log((await manager.query('SELECT 1 AS n')).rows[0].n)",
  'use()': `console.log(await manager.use(async (connection) => {
    await connection.query('SELECT 1'); await connection.commit(); return 1 }))`,
  'transaction()': "console.log((await manager.transaction((c) => c.query('SELECT 1 AS n'))).rows[0].n)",
  'a time-out that was not needed': `console.log(await manager.use(() => 1, { timeoutMillis: 20_000 }))`,
  'nothing at all': 'console.log(1)',
}

for (const [what, script] of Object.entries(FORGETFUL)) {
  test(`a script that forgets end() exits by itself after ${what}`, { needs: ['processes'] }, async () => {
    const startedAt = performance.now()
    assert.deepEqual(await run(START + script), { code: 0, signal: null, output: '1\n' })
    assert.ok(performance.now() - startedAt < 10_000)
  })
}

test(
  'a statement that is under way keeps the process alive until it is answered',
  { needs: ['processes'] },
  async () => {
    const script = `manager.query('SELECT pg_sleep(0.3)').then(() => console.log('answered'))`
    assert.deepEqual(await run(START + script), { code: 0, signal: null, output: 'answered\n' })
  },
)

test('allowExitOnIdle: false keeps the process alive until end()', { needs: ['processes'] }, async () => {
  const script = `
    import { ManagedConnection } from 'pg-managed-connection'
    const manager = new ManagedConnection(process.env.CONNINFO, { allowExitOnIdle: false })
    await manager.query('SELECT 1')
    setTimeout(() => { console.log('still here'); void manager.end() }, 300).unref()
  `
  assert.deepEqual(await run(script), { code: 0, signal: null, output: 'still here\n' })
})

test('a backend that is killed while it is idle does not kill the process', { needs: ['kill'] }, async () => {
  const script = `
    await manager.query('SELECT 1')
    const other = new ManagedConnection(process.env.CONNINFO)
    await other.query('SELECT pg_terminate_backend($1)', [manager.stats.processID])
    while (!manager.closed) await new Promise((resolve) => setTimeout(resolve, 5))
    console.log((await manager.query('SELECT 1 AS n')).rows[0].n)
  `
  assert.deepEqual(await run(START + script), { code: 0, signal: null, output: '1\n' })
})

test('importing the package does nothing by itself', async () => {
  const script =
    "import 'pg-managed-connection'; console.log(process.getActiveResourcesInfo().includes('Timeout'))"
  assert.deepEqual(await run(script), { code: 0, signal: null, output: 'false\n' })
})
