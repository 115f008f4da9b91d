/** Opening a connection: hosts, passwords, time limits, cancelling. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import pg from 'pg'
import {
  AttemptError,
  isTransientOpenError,
  openClient,
  planConnection,
} from '../support/conninfo/internals.js'
import { ask, EMPTY_ENVIRONMENT, failure, open } from '../support/conninfo/opening.js'
import { backend } from '../support/backend-messages.js'
import { freePort } from '../support/free-port.js'
import { startListener } from '../support/listener.js'
import { startServer } from '../support/postgres.js'
import { leakTest } from '../support/suite.js'
import { until, within } from '../support/wait.js'

const test = leakTest()

const HBA = `
local all postgres                trust
local all scram                   scram-sha-256
host  all postgres 127.0.0.1/32   trust
host  all scram    127.0.0.1/32   scram-sha-256
host  all plain    127.0.0.1/32   password
host  all md5      127.0.0.1/32   md5
host  all lonely   127.0.0.1/32   trust
`
const server = await startServer({ hba: HBA, conf: ['max_connections = 12'] })
after(() => server[Symbol.asyncDispose]())

const PASSWORD = 'correct horse'
{
  await using admin = await open(server.conninfo())
  // Releases that have this setting warn of the role's password.
  await admin.client.query(`
    SELECT set_config(name, 'off', false) FROM pg_settings WHERE name = 'md5_password_warnings';
    CREATE ROLE scram LOGIN PASSWORD '${PASSWORD}';
    CREATE ROLE plain LOGIN PASSWORD '${PASSWORD}';
    SET password_encryption = md5; CREATE ROLE md5 LOGIN PASSWORD '${PASSWORD}';
    CREATE ROLE lonely LOGIN CONNECTION LIMIT 0`)
}
const port = server.port
const tcp = `host=127.0.0.1 port=${port} dbname=postgres`

test('it opens by TCP and by a Unix socket, and says whom it reached', async () => {
  await using byTcp = await open(`${tcp} user=postgres`)
  assert.deepEqual(byTcp.target, { host: '127.0.0.1', port, address: '127.0.0.1' })
  assert.equal(byTcp.encryption, 'none')
  assert.equal(byTcp.session.loginMethod, 'none')
  assert.equal(byTcp.session.serverVersion, await ask(byTcp, 'SHOW server_version'))
  assert.equal(byTcp.session.inHotStandby, false)
  assert.equal(await ask(byTcp, 'SELECT 1 AS one'), 1)
  await using bySocket = await open({ host: server.host, port, user: 'postgres', database: 'postgres' })
  assert.deepEqual(bySocket.target, {
    host: server.host,
    port,
    socket: `${server.host}/.s.PGSQL.${port}`,
  })
})

test('settings of the session reach the server, from the string and from the environment', async () => {
  const env = {
    ...EMPTY_ENVIRONMENT,
    PGTZ: 'Asia/Tokyo',
    PGDATESTYLE: 'German',
    PGGEQO: 'off',
    PGOPTIONS: '-c work_mem=1MB',
  }
  await using one = await open(`${tcp} user=postgres fallback_application_name=fall`, { env })
  assert.equal(await ask(one, 'SHOW timezone'), 'Asia/Tokyo')
  assert.match(String(await ask(one, 'SHOW datestyle')), /^German/)
  assert.equal(await ask(one, 'SHOW geqo'), 'off')
  assert.equal(await ask(one, 'SHOW work_mem'), '1MB')
  assert.equal(await ask(one, 'SHOW application_name'), 'fall')
  const settings = { application_name: 'app', options: '-c geqo_threshold=3', lock_timeout: 4000 }
  await using two = await open(
    { host: '127.0.0.1', port, user: 'postgres', database: 'postgres', ...settings },
    { env: EMPTY_ENVIRONMENT },
  )
  assert.equal(await ask(two, 'SHOW application_name'), 'app')
  assert.equal(await ask(two, 'SHOW geqo_threshold'), '3')
  assert.equal(await ask(two, 'SHOW lock_timeout'), '4s')
})

test("pg's own reading of the environment does not get in the way", async () => {
  const names = [
    'PGSSLMODE',
    'PGSSLNEGOTIATION',
    'PGOPTIONS',
    'PGREPLICATION',
    'PGAPPNAME',
    'PGPASSWORD',
  ] as const
  const before = names.map((name) => process.env[name])
  for (const name of names) process.env[name] = 'direct'
  try {
    await using opened = await open(`${tcp} user=postgres`)
    assert.equal(await ask(opened, 'SHOW application_name'), '')
    const refused = await failure(`${tcp} user=scram`)
    assert.match(refused.message, /fe_sendauth: no password supplied/)
  } finally {
    for (const [index, name] of names.entries()) {
      if (before[index] === undefined) delete process.env[name]
      else process.env[name] = before[index]
    }
  }
})

for (const [user, method] of [
  ['scram', 'scram-sha-256'],
  ['plain', 'password'],
  ['md5', 'md5'],
] as const) {
  test(`a password from the string, a function or a file logs in with ${method}`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'passfile-'))
    const passfile = join(folder, 'pass')
    await writeFile(passfile, `*:1:*:*:wrong\n127.0.0.1:${port}:postgres:${user}:${PASSWORD}\n`, {
      mode: 0o600,
    })
    try {
      await using byText = await open(`${tcp} user=${user} password='${PASSWORD}'`)
      assert.equal(byText.session.loginMethod, method)
      await using byFile = await open(`${tcp} user=${user} passfile=${passfile}`)
      assert.equal(byFile.session.loginMethod, method)
      let asked = 0
      const password = async () => {
        asked += 1
        return PASSWORD
      }
      await using byFunction = await open({ host: '127.0.0.1', port, user, dbname: 'postgres', password })
      assert.equal(byFunction.session.loginMethod, method)
      assert.equal(asked, 1)
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  test(`a wrong or missing password for ${method} is refused, and not worth another try`, async () => {
    const wrong = await failure(`${tcp} user=${user} password=sesame`)
    assert.equal(wrong.code, 'ERR_CONNECT')
    assert.equal(wrong.errors.length, 1)
    assert.equal(wrong.errors[0]?.cause?.code, '28P01')
    assert.ok(wrong.errors[0]?.cause instanceof pg.DatabaseError)
    assert.equal(isTransientOpenError(wrong), false)
    assert.ok(!wrong.message.includes('sesame'))
    const missing = await failure(`${tcp} user=${user}`)
    assert.match(missing.message, /failed: fe_sendauth: no password supplied$/)
    assert.equal(isTransientOpenError(missing), false)
  })
}

test('a password function that fails, or gives no string, fails the attempt', async () => {
  const login = { host: '127.0.0.1', port, user: 'scram', dbname: 'postgres' }
  const cause = new Error('vault is sealed')
  const failed = await failure({ ...login, password: () => Promise.reject(cause) })
  assert.equal(failed.errors[0]?.cause, cause)
  const odd = await failure({ ...login, password: (() => 5) as never })
  assert.match(odd.message, /must give a string/)
})

test('a password file that others can read is not used, and a warning says so', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'passfile-'))
  const passfile = join(folder, 'pass')
  await writeFile(passfile, `*:*:*:*:${PASSWORD}\n`)
  await chmod(passfile, 0o644)
  const others = process.rawListeners('warning')
  process.removeAllListeners('warning')
  const warned = once(process, 'warning')
  try {
    const error = await failure(`${tcp} user=scram passfile=${passfile}`)
    assert.match(error.message, /no password supplied/)
    const [warning] = (await within(warned, 'the warning')) as [Error]
    assert.equal(
      warning.message,
      `password file "${passfile}" has group or world access; permissions should be u=rw (0600) or less`,
    )
  } finally {
    for (const listener of others) process.on('warning', listener as () => void)
    await rm(folder, { recursive: true })
  }
})

test('a wrong password from a file says which file', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'passfile-'))
  const passfile = join(folder, 'pass')
  await writeFile(passfile, `*:*:*:*:sesame\n`, { mode: 0o600 })
  try {
    const error = await failure(`${tcp} user=scram passfile=${passfile}`)
    assert.ok(error.message.endsWith(`password retrieved from file "${passfile}"`))
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('hosts are tried in turn, and each failure is kept', async () => {
  const closed = await freePort()
  await using opened = await open(
    `host=127.0.0.1,${server.host} port=${closed},${port} dbname=postgres user=postgres`,
  )
  assert.equal(opened.target.socket, `${server.host}/.s.PGSQL.${port}`)
  const error = await failure(`host=127.0.0.1,/nonexistent port=${closed} dbname=postgres user=postgres`)
  assert.deepEqual(
    error.errors.map((one) => [one.host, one.address, one.port, one.kind, one.cause?.code]),
    [
      ['127.0.0.1', '127.0.0.1', closed, 'network', 'ECONNREFUSED'],
      ['/nonexistent', null, closed, 'network', 'ENOENT'],
    ],
  )
  assert.equal(
    error.message,
    `connection to server at "127.0.0.1", port ${closed} failed: Connection refused\n` +
      '\tIs the server running on that host and accepting TCP/IP connections?\n' +
      `connection to server on socket "/nonexistent/.s.PGSQL.${closed}" failed: No such file or directory\n` +
      '\tIs the server running locally and accepting connections on that socket?',
  )
  assert.equal(isTransientOpenError(error), true)
  assert.ok(error.errors[0] instanceof AttemptError)
})

test("a name's addresses are tried in turn, and hostaddr needs no look-up", async () => {
  const lookUp = async (name: string) => (name === 'db.test' ? ['127.0.0.9', '127.0.0.1'] : [])
  await using opened = await open(`host=db.test port=${port} dbname=postgres user=postgres`, { lookUp })
  assert.deepEqual(opened.target, { host: 'db.test', port, address: '127.0.0.1' })
  await using direct = await open(
    `host=nowhere.test hostaddr=127.0.0.1 port=${port} dbname=postgres user=postgres`,
    {
      lookUp: () => assert.fail('looked up'),
    },
  )
  assert.deepEqual(direct.target, { host: 'nowhere.test', port, address: '127.0.0.1' })
  const error = await failure(`host=db.test,no.test port=${await freePort()}`, { lookUp })
  assert.deepEqual(
    error.errors.map((one) => one.address),
    ['127.0.0.9', '127.0.0.1', null],
  )
  assert.match(error.message, /could not translate host name "no.test" to address: /)
})

test('an unknown name is reported in libpq’s words', async () => {
  const error = await failure('host=no.such.invalid dbname=x user=x')
  assert.match(error.message, /^could not translate host name "no\.such\.invalid" to address: /)
})

test('load_balance_hosts=random reaches every host', async () => {
  const seen = new Set<string>()
  const conninfo = `host=127.0.0.1,${server.host} port=${port} dbname=postgres user=postgres load_balance_hosts=random`
  for (let round = 0; round < 60 && seen.size < 2; round++) {
    await using opened = await open(conninfo)
    seen.add(opened.target.host)
  }
  assert.deepEqual(seen, new Set(['127.0.0.1', server.host]))
})

test('a login that the server refuses ends the search; a server that is starting does not', async () => {
  const conninfo = `host=127.0.0.1,${server.host} port=${port} dbname=postgres`
  const refused = await failure(`${conninfo} user=scram password=wrong`)
  assert.equal(refused.errors.length, 1)
  const nowhere = await failure(`host=127.0.0.1 port=${port} dbname=nowhere user=postgres`)
  assert.equal(nowhere.errors[0]?.cause?.code, '3D000')
  await using starting = await startListener((socket) => {
    socket.once('data', () => {
      const fields = 'SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0'
      const message = Buffer.alloc(5 + fields.length)
      message.write('E')
      message.writeInt32BE(4 + fields.length, 1)
      message.write(fields, 5)
      socket.end(message)
    })
  })
  await using opened = await open(
    `host=127.0.0.1,127.0.0.1 port=${starting.port},${port} dbname=postgres user=postgres sslmode=disable`,
  )
  assert.equal(opened.target.port, port)
  const alone = await failure(`host=127.0.0.1 port=${starting.port} sslmode=disable`)
  assert.equal(alone.errors[0]?.cause?.code, '57P03')
  assert.equal(isTransientOpenError(alone), true)
})

for (const sqlState of ['08P01', '08006', '08001']) {
  test(`a pooler that says ${sqlState} leaves the turn to the next address, and to the next host`, async () => {
    await using pooler = await startListener((socket) => {
      const refusal = backend.error(sqlState, 'pgbouncer cannot connect to server', 'FATAL')
      socket.once('data', () => socket.end(refusal))
    })
    const lookUp = () => Promise.resolve(['127.0.0.1', '127.0.0.1'])
    const where = { host: 'poolers,127.0.0.1', port: `${pooler.port},${port}`, sslmode: 'disable' }
    await using opened = await open({ ...where, dbname: 'postgres', user: 'postgres' }, { lookUp })
    assert.equal(opened.target.port, port)
    const alone = await failure({ host: 'poolers', port: pooler.port, sslmode: 'disable' }, { lookUp })
    assert.deepEqual(
      alone.errors.map(({ cause }) => cause?.code),
      [sqlState, sqlState],
    )
    assert.equal(isTransientOpenError(alone), true)
    const later = new Error('x', { cause: { code: sqlState } })
    assert.equal(isTransientOpenError(later), false)
  })
}

test('connect_timeout bounds a server that accepts and never answers, for each host', async () => {
  await using deaf = await startListener()
  const started = performance.now()
  const error = await failure({
    host: '127.0.0.1,127.0.0.1',
    port: deaf.port,
    connectionTimeoutMillis: 150,
  })
  const took = performance.now() - started
  assert.equal(error.errors.length, 2)
  assert.ok(
    error.errors.every(({ kind, message }) => kind === 'timeout' && message.endsWith('timeout expired')),
  )
  assert.ok(took >= 290 && took < 2000, `took ${took} ms`)
  assert.equal(isTransientOpenError(error), true)
  await until(() => deaf.sockets.size === 0, { what: 'the sockets to close' })
})

test('connect_timeout bounds a stalled name look-up, and a late answer opens nothing', async () => {
  await using deaf = await startListener()
  let answer: (addresses: string[]) => void = () => {}
  const lookUp = () => new Promise<string[]>((resolve) => (answer = resolve))
  const started = performance.now()
  const error = await failure(
    { host: 'stalled.test', port: deaf.port, connectionTimeoutMillis: 150 },
    { lookUp },
  )
  assert.ok(performance.now() - started < 2000)
  assert.equal(error.message, 'could not translate host name "stalled.test" to address: timeout expired')
  answer(['127.0.0.1'])
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.equal(deaf.sockets.size, 0)
})

test('the deadline bounds the whole opening, and the time for each step shrinks with it', async () => {
  await using deaf = await startListener()
  const started = performance.now()
  const error = await failure(`host=127.0.0.1,127.0.0.1,127.0.0.1 port=${deaf.port}`, {
    deadline: performance.now() + 200,
  })
  assert.ok(performance.now() - started < 1500)
  assert.equal(error.errors.length, 1)
  assert.equal(error.errors[0]?.kind, 'timeout')
})

test('an abort rejects with its reason, at once, in every phase', async () => {
  await using deaf = await startListener()
  const reason = new Error('never mind')
  const never = () => new Promise<never>(() => {})
  const phases: [Parameters<typeof open>[0], Parameters<typeof open>[1]?][] = [
    [`host=stalled.test port=${deaf.port}`, { lookUp: never }],
    [`host=127.0.0.1 port=${deaf.port}`],
    [`host=127.0.0.1 port=${deaf.port} sslmode=disable`],
    [{ host: '127.0.0.1', port, user: 'scram', database: 'postgres', password: never }],
  ]
  for (const [conninfo, options] of phases) {
    const controller = new AbortController()
    setTimeout(() => controller.abort(reason), 40)
    const opening = open(conninfo, { ...options, signal: controller.signal })
    await assert.rejects(within(opening, 'the abort'), (error) => error === reason)
  }
  await assert.rejects(open(tcp, { signal: AbortSignal.abort(reason) }), (error) => error === reason)
  await until(() => deaf.sockets.size === 0, { what: 'the sockets to close' })
})

test('a server that hangs up, or speaks something else, fails the attempt', async () => {
  await using hangsUp = await startListener((socket) => socket.end())
  const closed = await failure(`host=127.0.0.1 port=${hangsUp.port} sslmode=disable`)
  assert.match(closed.message, /server closed the connection unexpectedly/)
  assert.equal(isTransientOpenError(closed), true)
  const closedTls = await failure(`host=127.0.0.1 port=${hangsUp.port} sslmode=require`)
  assert.match(closedTls.message, /server closed the connection unexpectedly/)
  assert.equal(isTransientOpenError(closedTls), true)
  await using http = await startListener((socket) =>
    socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n')),
  )
  const odd = await failure(`host=127.0.0.1 port=${http.port} sslmode=require`)
  assert.match(odd.message, /received (?:invalid response|unencrypted data)/)
})

test('authentication that Node cannot do is a failed attempt, not an uncaught exception', async () => {
  for (const [method, words] of [
    [7, /GSSAPI authentication not supported/],
    [9, /SSPI authentication not supported/],
    [99, /authentication method 99 not supported/],
  ] as const) {
    await using odd = await startListener((socket) => {
      socket.once('data', () => socket.write(Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, method])))
    })
    const error = await failure(`host=127.0.0.1 port=${odd.port} sslmode=disable`)
    assert.match(error.message, words)
  }
})

test('require_auth refuses before anything is answered', async () => {
  const passwords: string[] = []
  const login = (user: string, require_auth: string) => ({
    host: '127.0.0.1',
    port,
    user,
    database: 'postgres',
    require_auth,
    password: () => {
      passwords.push(user)
      return PASSWORD
    },
  })
  for (const [user, requirement, words] of [
    ['plain', 'scram-sha-256', 'server requested a cleartext password'],
    ['md5', 'scram-sha-256', 'server requested a hashed password'],
    ['scram', '!scram-sha-256', 'server requested SCRAM-SHA-256 authentication'],
    ['postgres', 'scram-sha-256,md5', 'server did not complete authentication'],
    ['postgres', '!none', 'server did not complete authentication'],
  ] as const) {
    const error = await failure(login(user, requirement))
    assert.equal(
      error.errors[0]?.message,
      `connection to server at "127.0.0.1", port ${port} failed: ` +
        `authentication method requirement "${requirement}" failed: ${words}`,
    )
    assert.equal(isTransientOpenError(error), false)
  }
  assert.deepEqual(passwords, [])
  for (const [user, requirement] of [
    ['scram', 'scram-sha-256'],
    ['md5', 'scram-sha-256,md5'],
    ['plain', '!md5'],
    ['postgres', 'none'],
  ] as const) {
    await using opened = await open(login(user, requirement))
    assert.equal(await ask(opened, 'SELECT current_user::text'), user)
  }
})

test('channel_binding=require is not met without TLS', async () => {
  for (const user of ['scram', 'plain', 'md5', 'postgres']) {
    const error = await failure(`${tcp} user=${user} password='${PASSWORD}' channel_binding=require`)
    assert.match(error.message, /channel binding/i)
    assert.equal(error.errors[0]?.kind, 'policy')
  }
})

test('too many connections is worth another try', async () => {
  const error = await failure(`${tcp} user=lonely`)
  assert.equal(error.errors[0]?.cause?.code, '53300')
  assert.equal(isTransientOpenError(error), true)
  assert.equal(isTransientOpenError(new Error('x', { cause: { code: '57P01' } })), true)
  assert.equal(isTransientOpenError(new Error('x', { cause: { code: '42601' } })), false)
  assert.equal(isTransientOpenError('nonsense'), false)
})

test('cancel() cancels what the session is doing', async () => {
  for (const conninfo of [`${tcp} user=postgres`, server.conninfo()]) {
    await using opened = await open(conninfo)
    const sleeping = assert.rejects(opened.client.query('SELECT pg_sleep(30)'), { code: '57014' })
    await new Promise((resolve) => setTimeout(resolve, 50))
    await opened.cancel()
    await within(sleeping, 'the statement to be cancelled')
    assert.equal(await ask(opened, 'SELECT 2'), 2)
  }
})

test('cancel() is bounded in time, and can be aborted', async () => {
  await using opened = await open(`${tcp} user=postgres`)
  const reason = new Error('enough')
  await assert.rejects(opened.cancel({ signal: AbortSignal.abort(reason) }), (error) => error === reason)
})

test('the steps are told, in order', async () => {
  const kinds: string[] = []
  const closed = await freePort()
  await using opened = await open(
    `host=127.0.0.1,127.0.0.1 port=${closed},${port} dbname=postgres user=postgres`,
    {
      onStep: ({ kind }) => kinds.push(kind),
    },
  )
  assert.equal(opened.target.port, port)
  assert.deepEqual(kinds, ['look-up', 'attempt', 'failed', 'look-up', 'attempt', 'reached', 'opened'])
})

test('a stream that the user gives is handed to pg, and cancel() does nothing then', async () => {
  const { connect } = await import('node:net')
  let made = 0
  const stream = () => {
    made += 1
    const socket = connect(port, '127.0.0.1')
    // pg calls connect() by itself.
    Object.assign(socket, { connect: () => socket })
    return socket
  }
  const plan = planConnection({ stream, user: 'postgres', database: 'postgres' }, EMPTY_ENVIRONMENT)
  const opened = await openClient(plan)
  assert.equal(made, 1)
  assert.equal(await ask(opened, 'SELECT 3'), 3)
  await opened.cancel()
  await opened.client.end()
})

test('types and query_timeout', async () => {
  const types = { getTypeParser: () => (value: string) => `<${value}>` }
  await using opened = await open({ host: '127.0.0.1', port, user: 'postgres', database: 'postgres', types })
  assert.equal(await ask(opened, 'SELECT 4'), '<4>')
  const plan = planConnection({ query_timeout: 1234 }, EMPTY_ENVIRONMENT)
  assert.equal(plan.statementTimeoutMillis, 1234)
})
