/**
 * A marker password goes in by every door; then everything that can be printed is searched for it, as it is, percent-encoded
 * and in base64.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { format, inspect } from 'node:util'
import {
  ManagedConnection,
  type ConnectionParameters,
  type ManagedConnectionOptions,
} from 'pg-managed-connection'
import { asPool } from 'pg-managed-connection/pool'
import { createGate, outcome } from '../support/caught.js'
import { backend } from '../support/backend-messages.js'
import { COMMAND } from '../support/internals.js'
import { answerWell, startRawServer } from '../support/raw-server.js'
import { openSuite } from '../support/suite.js'

const { test, database } = await openSuite()
const { admin, login } = database

// The characters that encodings disagree about.
const MARKER = 'mark/er+S3cr&t=%:@'
const FORMS = [
  MARKER,
  encodeURIComponent(MARKER),
  Buffer.from(MARKER).toString('base64'),
  JSON.stringify(MARKER).slice(1, -1),
  'S3cr',
]

function refuseSecret(text: string, where: string): void {
  for (const form of FORMS)
    assert.ok(!text.includes(form), `${where} shows the password: ${text.slice(0, 2_000)}`)
}

/** Every way in which somebody may print a thing. */
function faces(value: unknown): string[] {
  const attempts = [
    () => inspect(value, { depth: Infinity, showHidden: true, getters: true }),
    () => inspect(value),
    () => format('%s %o %O %j', value, value, value, value),
    () => JSON.stringify(value),
    () => String(value),
    () => inspect(structuredClone(value), { depth: Infinity }),
    () => String((value as Error).stack),
    () => String((value as Error).message),
  ]
  return attempts.map((attempt) => {
    try {
      return attempt() ?? ''
    } catch {
      return ''
    }
  })
}

function search(value: unknown, where: string): void {
  for (const face of faces(value)) refuseSecret(face, where)
}

/** The doors, at an address. */
async function doors(
  { host, port }: { host: string; port: number },
  folder: string,
): Promise<Map<string, string | ConnectionParameters>> {
  const encoded = encodeURIComponent(MARKER)
  const where = host.startsWith('/')
    ? `/${database.name}?host=${encodeURIComponent(host)}&port=${port}`
    : `${host}:${port}/${database.name}?sslmode=disable`
  const passfile = join(folder, 'pgpass')
  await writeFile(passfile, `*:*:*:*:${MARKER.replaceAll(/[:\\]/g, '\\$&')}\n`, { mode: 0o600 })
  const object = {
    host,
    port,
    user: login.user,
    dbname: database.name,
    sslmode: 'disable',
  } as ConnectionParameters
  return new Map<string, string | ConnectionParameters>([
    ['a URI', `postgres://${login.user}:${encoded}@${where}`],
    [
      'a URI parameter',
      `postgres://${login.user}@${where}${where.includes('?') ? '&' : '?'}password=${encoded}&sslpassword=${encoded}`,
    ],
    [
      'keywords',
      `host=${host} port=${port} user=${login.user} dbname=${database.name} sslmode=disable password='${MARKER}' sslpassword='${MARKER}'`,
    ],
    ['an object', { ...object, password: MARKER, sslpassword: MARKER } as ConnectionParameters],
    ['a function', { ...object, password: () => Promise.resolve(MARKER) }],
    [
      'connectionString',
      { connectionString: `postgres://${login.user}:${encoded}@${where}` } as ConnectionParameters,
    ],
    ['the password file', { ...object, passfile }],
    ['the environment', object],
  ])
}

async function withDoors(
  address: { host: string; port: number },
  use: (name: string, door: string | ConnectionParameters) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'secrets-'))
  try {
    for (const [name, door] of await doors(address, folder)) {
      if (name === 'the environment') process.env['PGPASSWORD'] = MARKER
      try {
        await use(name, door)
      } finally {
        delete process.env['PGPASSWORD']
      }
    }
  } finally {
    await rm(folder, { recursive: true })
  }
}

const EVENTS = [
  'connect',
  'disconnect',
  'acquire',
  'release',
  'rollback',
  'holdWarning',
  'notice',
  'error',
] as const

/** Does everything wrong that can be done wrong, and gives what came of it. */
async function provoke(
  door: string | ConnectionParameters,
  options: ManagedConnectionOptions = {},
): Promise<unknown[]> {
  const seen: unknown[] = []
  await using manager = new ManagedConnection(door, {
    traceHolders: true,
    holdWarningMillis: 5,
    maxWaiting: 3,
    ...options,
  })
  for (const event of EVENTS) manager.on(event, (...given: unknown[]) => void seen.push(...given))
  const add = async (promise: Promise<unknown>): Promise<void> => {
    const settled = await outcome(promise)
    seen.push(settled.status === 'rejected' ? settled.reason : settled.value)
  }
  await add(manager.query('SELECT 1/0'))
  await add(manager.query("DO $$ BEGIN RAISE NOTICE 'noted'; END $$"))
  await add(manager.use((connection) => connection.query('SELECT 1')))
  await add(manager.use(async (connection) => void connection.query('SELECT pg_sleep(0.01)')))
  await add(manager.use(() => manager.query('SELECT 1')))
  await add(manager.transaction((connection) => connection.commit()))
  await add(manager.transaction((connection) => connection.query('SELECT 1/0').catch(() => {})))
  await add(manager.transaction((connection) => connection.query('COMMIT')))
  await add(manager.query({ text: 'SELECT pg_sleep(1)', timeoutMillis: 10 }))
  await add(
    manager.transaction((connection) => connection.query('SELECT pg_terminate_backend(pg_backend_pid())')),
  )
  const gate = createGate()
  const held = manager.use(async (connection) => {
    seen.push(connection)
    await gate.opened
    search(connection, 'a connection')
    search(manager, 'a manager that is held')
  })
  await add(manager.acquire({ timeoutMillis: 15 }))
  await add(manager.acquire({ timeoutMillis: 0 }))
  gate.open()
  await add(held)
  seen.push(manager, manager.stats, asPool(manager), door === null)
  await add(manager.end())
  await add(manager.query('SELECT 1'))
  return seen
}

test('no error, event or inspection of a manager that works shows the password', async () => {
  await withDoors(login, async (name, door) => {
    const seen = await provoke(door)
    assert.ok(seen.filter((one) => one instanceof Error).length >= 10, `${name}: ${inspect(seen)}`)
    for (const one of seen) search(one, `with ${name}, ${inspect(one).slice(0, 60)}`)
  })
})

test('no refusal to connect shows the password, whatever the server says', async () => {
  const refusals = [
    [backend.error('28P01', 'password authentication failed for user "postgres"', 'FATAL')],
    [backend.error('53300', 'sorry, too many clients already', 'FATAL')],
    [Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
  ]
  for (const refusal of refusals) {
    await using server = await startRawServer((message, peer) => {
      if (message.name === 'Startup') peer.send(...refusal)
      peer.socket.end()
    })
    await withDoors(server, async (name, door) => {
      await using manager = new ManagedConnection(door)
      const settled = await outcome(manager.query('SELECT 1'))
      assert.equal(settled.status, 'rejected')
      if (settled.status === 'rejected') search(settled.reason, `with ${name}`)
      search(manager, `with ${name}`)
    })
  }
})

test('a password that was asked for in clear is nowhere but on the wire', async () => {
  let received = ''
  await using server = await startRawServer((message, peer) => {
    if (message.name === 'Password') received = message.payload.toString()
    if (message.name === 'Startup')
      peer.send(Buffer.concat([Buffer.from('R'), Buffer.from([0, 0, 0, 8, 0, 0, 0, 3])]))
    else if (message.name === 'Password') answerWell({ ...message, name: 'Startup' }, peer)
    else answerWell(message, peer)
  })
  await withDoors(server, async (name, door) => {
    received = ''
    await using manager = new ManagedConnection(door, {
      onConnect: (client) => {
        // Its getters warn of their own end, so that it is not shown whole.
        const { password, connectionParameters } = client as unknown as Record<string, object | null>
        search([password, connectionParameters], `pg's client with ${name}`)
        refuseSecret(inspect(client, { depth: Infinity }), `pg's client with ${name}`)
        return Promise.resolve()
      },
    })
    await manager.query('SELECT')
    assert.equal(received, `${MARKER}\0`, name)
    search(manager, name)
  })
})

test('a connection string that is wrong is quoted without its password', () => {
  const encoded = encodeURIComponent(MARKER)
  const wrong = [
    `postgres://u:${encoded}@h/d?nonsense=1`,
    `postgres://u:${encoded}@h:port/d`,
    `postgres://u:${encoded}@[::1/d`,
    `host=h password='${MARKER}' nonsense=1`,
    `host=h password='${MARKER}`,
    { host: 'h', password: MARKER, nonsense: 1 } as unknown as ConnectionParameters,
    { host: 'h', port: 'x', password: MARKER } as unknown as ConnectionParameters,
  ]
  for (const one of wrong) {
    assert.throws(
      () => String(new ManagedConnection(one)),
      (error) => {
        search(error, inspect(one))
        return true
      },
    )
  }
})

function run(args: readonly string[], env: Record<string, string> = {}): Promise<string> {
  return new Promise((resolve) => {
    execFile(process.execPath, args, { env: { ...process.env, ...env } }, (_error, stdout, stderr) =>
      resolve(stdout + stderr),
    )
  })
}

test('the check command shows no password, as text or as JSON', async () => {
  await withDoors(login, async (name, door) => {
    if (typeof door !== 'string') return
    const printed = await Promise.all(
      [[], ['--json']].map((flags) => run([COMMAND, 'check', ...flags, door])),
    )
    for (const text of printed) refuseSecret(text, `check with ${name}`)
  })
  const { host, port, user } = login
  const plain = `host=${host} port=${port} user=${user} dbname=${database.name}`
  for (const flags of [[], ['--json']])
    refuseSecret(
      await run([COMMAND, 'check', ...flags, plain], { PGPASSWORD: MARKER }),
      'check with PGPASSWORD',
    )
})

test('a process that dies of an error of the library prints no password', async () => {
  await withDoors(login, async (name, door) => {
    if (typeof door !== 'string') return
    const program = (end: string): string => `
      import { ManagedConnection } from 'pg-managed-connection'
      const manager = new ManagedConnection(${JSON.stringify(door)})
      const failure = manager.use((connection) => connection.query('SELECT 1'))
      ${end}`
    const ends = [
      'await failure',
      'void failure',
      'failure.catch((error) => { setTimeout(() => { throw Object.assign(error, { manager }) }) })',
    ]
    const dying = ends.map(async (end) => {
      const printed = await run(
        ['--unhandled-rejections=strict', '--input-type=module', '-e', program(end)],
        { NODE_DEBUG: 'net,tls,http' },
      )
      assert.match(printed, /ERR_UNCOMMITTED_TRANSACTION/, name)
      refuseSecret(printed, `a crash with ${name}`)
    })
    await Promise.all(dying)
  })
})

test('what the server sees of a session holds no password', async () => {
  await withDoors(login, async (name, door) => {
    await using manager = new ManagedConnection(door)
    await manager.query('SELECT 1')
    const seen = await admin.rows('SELECT * FROM pg_stat_activity WHERE datname = current_database()')
    // The name of one's own connection and statement are all that there is.
    search(seen, name)
  })
})
