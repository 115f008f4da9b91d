/** The command `check`: what it prints, what it advises in real situations, and that it never prints a password. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { chmod, copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { Authority } from '../support/conninfo/certificates.js'
import { keywords } from '../support/conninfo/internals.js'
import { ConninfoError, open } from '../support/conninfo/opening.js'
import { REPLICATION_HBA } from '../support/conninfo/standby.js'
import { freePort } from '../support/free-port.js'
import { COMMAND, internal, type AttemptFacts, type Problem, type Report } from '../support/internals.js'
import { startListener, type Listener } from '../support/listener.js'
import { startServer } from '../support/postgres.js'
import { tooOld } from '../support/server-version.js'
import { startPgBouncer } from '../support/pgbouncer.js'
import { whyNoPgBouncer } from '../support/pgbouncer-program.js'
import { startProxy } from '../support/proxy.js'
import { Random } from '../support/random.js'
import { pathOf, root } from '../support/root.js'
import { leakTest } from '../support/suite.js'
import { until } from '../support/wait.js'

const test = leakTest()

const { run } = await internal('command')
const { listParameters } = await internal('parameterFacts')
const { refuseStrayAt } = await internal('strayAt')
const { problemCodes } = await internal('advice')

const PASSWORD = 'correct horse'
/** Wherever a password is given that is not printed, it has this in it. */
const MARKER = 'h1dden'

const folder = await mkdtemp(join(tmpdir(), 'check-'))
const authority = await Authority.create('test authority')
const stranger = await Authority.create('another authority')
const identity = await authority.sign('common.test', 'DNS:db.test, DNS:localhost')
const client = await authority.sign('certified')
const impostor = await stranger.sign('certified')
const files = await identity.read()

const HBA = `
hostssl   all postgres,secretive 127.0.0.1/32 trust
hostnossl all careless           127.0.0.1/32 trust
hostssl   all certified          127.0.0.1/32 cert
host      all scram              127.0.0.1/32 scram-sha-256
host      all plain              127.0.0.1/32 password
host      all banned             127.0.0.1/32 reject
host      all absent,group,full  127.0.0.1/32 trust
host      all unprivileged       127.0.0.1/32 trust
local     all peered                          peer
local     all all                             trust
`
/** With TLS, and everything that a login may meet. */
const strict = await startServer({
  hba: HBA,
  conf: ['ssl = on', "ssl_ca_file = 'root.crt'", "ssl_min_protocol_version = 'TLSv1.3'"],
  files: {
    'server.crt': files.certificate,
    'server.key': files.key,
    'root.crt': await readFile(authority.certificate, 'utf8'),
  },
})
/** Without TLS, trusting everybody. */
const bare = await startServer({ hba: REPLICATION_HBA })
// Before any test, which would take the process that this starts for its own.
const withoutPgBouncer = await whyNoPgBouncer()
after(async () => {
  for (const one of [strict, bare, authority, stranger]) await one[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})
let version!: string
{
  await using admin = await open(strict.conninfo())
  version = admin.session.serverVersion
  for (const statement of [
    `CREATE ROLE scram LOGIN PASSWORD '${PASSWORD}'`,
    `CREATE ROLE plain LOGIN PASSWORD '${PASSWORD}'`,
    'CREATE ROLE secretive LOGIN; CREATE ROLE careless LOGIN; CREATE ROLE certified LOGIN; CREATE ROLE peered LOGIN',
    'CREATE ROLE banned LOGIN; CREATE ROLE "group"; CREATE ROLE "full" LOGIN CONNECTION LIMIT 0',
    `CREATE ROLE unprivileged LOGIN; CREATE ROLE newcomer LOGIN PASSWORD '${PASSWORD}'`,
    'CREATE DATABASE private',
    'REVOKE CONNECT ON DATABASE private FROM PUBLIC',
    'CREATE DATABASE closed ALLOW_CONNECTIONS false',
  ]) {
    await admin.client.query(statement)
  }
}
const noSystemUser = tooOld(version, 16, 'SYSTEM_USER')

type Environment = Readonly<Record<string, string>>

interface Printed {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs the command in an environment in which libpq's files are not found. */
function runProgram(args: readonly string[], env: Environment = {}): Promise<Printed> {
  return new Promise((resolve) => {
    const options = { env: { HOME: '/nonexistent', ...env }, timeout: 40_000 }
    execFile(process.execPath, [COMMAND, ...args], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr })
    })
  })
}

/** The report on a connection string, as `--json` prints it. */
async function report(conninfo: string, env: Environment = {}): Promise<Report> {
  const { code, stdout, stderr } = await runProgram(['check', conninfo, '--json'], env)
  assert.equal(stderr, '')
  assert.ok(!stdout.includes(PASSWORD) && !stdout.includes(MARKER), stdout)
  const found = JSON.parse(stdout) as Report
  assert.equal(code, found.ok ? 0 : 1)
  assert.equal(found.ok, found.problem === null)
  return found
}

/** A keyword/value string. */
function list(parameters: Readonly<Record<string, string | number>>): string {
  return Object.entries(parameters)
    .map(([name, value]) => `${name}='${value}'`)
    .join(' ')
}

/** The strict server by TCP; `db.test` is a name in its certificate. */
function strictly(parameters: Readonly<Record<string, string | number>>): string {
  return list({
    host: 'db.test',
    hostaddr: '127.0.0.1',
    port: strict.port,
    dbname: 'postgres',
    ...parameters,
  })
}

/** A server that has no TLS and answers every login with the same message. */
function listenAndSay(letter: string, body: Buffer): Promise<Listener> {
  const answer = Buffer.alloc(5)
  answer.write(letter)
  answer.writeInt32BE(body.length + 4, 1)
  return startListener((socket) =>
    socket.on('data', (chunk) => socket.write(chunk.length === 8 ? 'N' : Buffer.concat([answer, body]))),
  )
}

const errorBody = (code: string, message: string) => Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${message}\0\0`)

/** The problem of a report, and that its advice is something that can be read. */
function problemOf({ problem }: Report): Problem {
  assert.ok(problem !== null, 'there should be a problem')
  assert.match(problem.advice, /^["\p{L}].*[^ ]$/su)
  assert.doesNotMatch(problem.advice, /undefined|null|NaN|\[object/)
  return problem
}

async function expectProblem(
  code: string,
  advice: RegExp,
  conninfo: string,
  env: Environment = {},
): Promise<Report> {
  const found = await report(conninfo, env)
  const problem = problemOf(found)
  assert.equal(problem.code, code, JSON.stringify(problem))
  assert.match(problem.advice, advice)
  return found
}

function parameter({ parameters }: Report, name: string) {
  const { value, source, detail } = parameters.find((one) => one.name === name) ?? {}
  return [value, source, detail]
}

// --- what it finds out ---

test('a connection that works: parameters, host, server, role, access, round trip', async () => {
  const found = await report(bare.conninfo())
  assert.equal(found.ok, true)
  assert.deepEqual(parameter(found, 'user'), ['postgres', 'string', null])
  assert.deepEqual(parameter(found, 'sslmode'), ['prefer', 'default', null])
  assert.deepEqual(parameter(found, 'connect_timeout'), [
    '10',
    'default',
    'of this check; otherwise no limit',
  ])
  const [attempt] = found.attempts as [AttemptFacts]
  const { millis, ...rest } = attempt
  assert.deepEqual(rest, {
    host: bare.host,
    port: bare.port,
    address: null,
    socket: `${bare.host}/.s.PGSQL.${bare.port}`,
    outcome: 'connected',
    encryption: 'none',
    problem: null,
  })
  assert.ok(millis! > 0)
  const { serverVersion, roundTrip, ...facts } = found.connection!
  assert.equal(serverVersion, version)
  assert.ok(roundTrip!.medianMillis > 0 && roundTrip!.samples === 9)
  assert.deepEqual(facts, {
    tls: null,
    authentication: { asked: 'none', systemUser: null },
    role: { current: 'postgres', session: 'postgres', superuser: true },
    database: 'postgres',
    readOnly: false,
    inRecovery: false,
    pooler: false,
  })
  assert.deepEqual(found.warnings, [])
})

test('an encrypted one: version, cipher, certificate, whom it is made out to, how the user logged in', async () => {
  const login = { user: 'scram', password: PASSWORD, sslrootcert: authority.certificate }
  const found = await report(strictly({ ...login, sslmode: 'verify-full' }))
  const { tls, authentication, role } = found.connection!
  assert.equal(tls?.protocol, 'TLSv1.3')
  assert.match(tls.cipher, /^TLS_/)
  assert.equal(tls.verified, true)
  const { subject, issuer, names, validFrom, validUntil, matchesHost } = tls.certificate!
  assert.deepEqual([subject, issuer, matchesHost], ['CN=common.test', 'CN=test authority', true])
  assert.match(names, /DNS:db\.test/)
  assert.equal(Math.round((Date.parse(validUntil) - Date.parse(validFrom)) / 86_400_000), 2)
  assert.deepEqual(authentication, {
    asked: 'scram-sha-256-plus',
    systemUser: noSystemUser ? null : 'scram-sha-256:scram',
  })
  assert.deepEqual(role, { current: 'scram', session: 'scram', superuser: false })
  assert.match(found.warnings.join('\n'), /^the server’s certificate expires in 1 day, on /)

  const other = await report(strictly({ ...login, host: 'other.test', sslmode: 'verify-ca' }))
  assert.equal(other.connection?.tls?.certificate?.matchesHost, false)
  const unverified = await report(strictly({ user: 'scram', password: PASSWORD, sslmode: 'require' }))
  assert.equal(unverified.connection?.tls?.verified, false)
  assert.match(unverified.warnings.join('\n'), /^the server’s certificate was not verified/)
})

test('the login with a client certificate is named by the server', { skip: noSystemUser }, async () => {
  const files = { sslcert: client.certificate, sslkey: client.key }
  const found = await report(strictly({ user: 'certified', sslmode: 'require', ...files }))
  assert.equal(found.connection?.authentication.systemUser, 'cert:CN=certified')
})

test('read-only sessions and standbys are told apart', async () => {
  const found = await report(`${bare.tcpConninfo()}?options=-cdefault_transaction_read_only%3Don`)
  assert.deepEqual([found.connection?.readOnly, found.connection?.inRecovery], [true, false])
  await using standby = await startServer()
  await standby.stop()
  await standby.writeFile('standby.signal', '')
  await standby.start()
  const other = await report(standby.conninfo())
  assert.deepEqual([other.connection?.readOnly, other.connection?.inRecovery], [true, true])
  const printed = await runProgram(['check', standby.conninfo()])
  assert.match(printed.stdout, /^ {2}access +read-only: a standby in recovery$/m)
})

test('each value comes with its source', async () => {
  const service = join(folder, 'services')
  await writeFile(service, `[here]\nhost=${bare.host}\nport=${bare.port}\nuser=ignored\n`)
  const passfile = join(folder, 'sources.pass')
  await writeFile(passfile, `*:*:*:*:${MARKER}\n`, { mode: 0o600 })
  const env = { PGSERVICEFILE: service, PGDATABASE: 'postgres', PGPASSFILE: passfile, PGTZ: 'Asia/Tokyo' }
  const found = await report('service=here user=postgres keepalives_count=3', env)
  assert.equal(found.ok, true)
  assert.deepEqual(parameter(found, 'host'), [bare.host, 'service file', service])
  assert.deepEqual(parameter(found, 'user'), ['postgres', 'string', null])
  assert.deepEqual(parameter(found, 'dbname'), ['postgres', 'environment', 'PGDATABASE'])
  assert.deepEqual(parameter(found, 'password'), ['***', 'password file', passfile])
  assert.deepEqual(parameter(found, 'port'), [String(bare.port), 'service file', service])
  assert.deepEqual(parameter(found, 'sslmode'), ['prefer', 'default', null])
  assert.deepEqual(parameter(found, 'PGTZ'), ['Asia/Tokyo', 'environment', 'PGTZ'])
  assert.deepEqual(found.warnings, ['keepalives_count (connection string) is without effect here'])
})

test('each host is listed: those that failed, the one that was taken, those that were not tried', async () => {
  const free = await freePort()
  const hosts = { host: '127.0.0.1,localhost,127.0.0.2', port: `${free},${bare.port},5432` }
  const found = await report(list({ ...hosts, user: 'postgres', dbname: 'postgres' }))
  const outcomes = found.attempts.map(({ host, outcome, problem }) => [host, outcome, problem?.code])
  const taken = found.attempts.findIndex(({ outcome }) => outcome === 'connected')
  assert.deepEqual(outcomes[0], ['127.0.0.1', 'failed', 'connection-refused'])
  assert.deepEqual(outcomes[taken], ['localhost', 'connected', undefined])
  assert.deepEqual(outcomes.at(-1), ['127.0.0.2', 'not tried', undefined])
})

// --- what is wrong, and what to do ---

for (const [code, advice, parameters] of [
  [
    'wrong-password',
    /\(from: connection string\) is not that of "scram"/,
    { user: 'scram', password: MARKER },
  ],
  ['no-password', /password file: \/nonexistent\/\.pgpass \(default\) does not exist/, { user: 'scram' }],
  ['database-missing', /CREATE DATABASE "no""where"/, { user: 'secretive', dbname: 'no"where' }],
  ['role-missing', /CREATE ROLE "absent" LOGIN/, { user: 'absent' }],
  ['role-may-not-log-in', /ALTER ROLE "group" LOGIN/, { user: 'group' }],
  ['too-many-connections', /pg_stat_activity/, { user: 'full' }],
  [
    'database-closed',
    /ALTER DATABASE "closed" ALLOW_CONNECTIONS/,
    { user: 'unprivileged', dbname: 'closed' },
  ],
  [
    'no-connect-privilege',
    /GRANT CONNECT ON DATABASE "private" TO "unprivileged"/,
    { user: 'unprivileged', dbname: 'private' },
  ],
  ['bad-setting', /options \(from: connection string\)/, { user: 'secretive', options: '-c nonsense=1' }],
  ['pg-hba-reject', /says "reject"/, { user: 'banned' }],
  ['no-pg-hba-entry', / {4}host postgres nobody 127\.0\.0\.1\/32 scram-sha-256\n/, { user: 'nobody' }],
  [
    'no-pg-hba-entry',
    /sslmode=require uses it; now it is disable/,
    { user: 'secretive', sslmode: 'disable' },
  ],
  ['no-pg-hba-entry', /sslmode=disable uses it/, { user: 'careless', sslmode: 'require' }],
  ['client-certificate', /sslcert and sslkey/, { user: 'certified', sslmode: 'require' }],
  [
    'client-certificate',
    /signed by an authority in the server’s ssl_ca_file/,
    { user: 'certified', sslmode: 'require', sslcert: impostor.certificate, sslkey: impostor.key },
  ],
  [
    'session-attributes',
    /^target_session_attrs=standby/,
    { user: 'secretive', target_session_attrs: 'standby' },
  ],
  ['require-auth', /pg_hba\.conf/, { user: 'plain', password: MARKER, require_auth: 'scram-sha-256' }],
  ['channel-binding', /password_encryption/, { user: 'plain', password: MARKER, channel_binding: 'require' }],
  [
    'certificate-name',
    /other names than "other\.test" \(host, from: connection string\)/,
    { user: 'secretive', host: 'other.test', sslmode: 'verify-full', sslrootcert: authority.certificate },
  ],
  [
    'certificate-untrusted',
    /sslrootcert, from: connection string\) has signed/,
    { user: 'secretive', sslmode: 'verify-ca', sslrootcert: stranger.certificate },
  ],
  // Here TLS fails first, and then the server wants nothing without it.
  ['certificate-untrusted', /sslrootcert/, { user: 'secretive', sslrootcert: stranger.certificate }],
  ['certificate-revoked', /revocation list/, 'revoked'],
  ['root-certificate-missing', /^sslmode=verify-full/, { user: 'secretive', sslmode: 'verify-full' }],
  [
    'host-name-missing',
    /^sslmode=verify-full compares/,
    { host: '', user: 'secretive', sslmode: 'verify-full', sslrootcert: authority.certificate },
  ],
  ['tls-unsupported', /ssl = on/, { user: 'postgres', sslmode: 'require', port: bare.port }],
  [
    'tls-version',
    /ssl_min_protocol_version/,
    { user: 'secretive', sslmode: 'require', ssl_max_protocol_version: 'TLSv1.2' },
  ],
  ['tls-direct', /PostgreSQL 17/, { sslmode: 'require', sslnegotiation: 'direct', port: bare.port }],
  ['private-key', /chmod 0600/, 'open key'],
  ['file-unreadable', /spelling of the path/, { sslmode: 'require', sslrootcert: '/nonexistent/ca' }],
  ['tls-files', /PEM format/, 'not PEM'],
] as const) {
  const shown = typeof parameters === 'string' ? parameters : JSON.stringify(parameters)
  test(`${code}: ${shown.replaceAll(authority.folder, '').replaceAll(stranger.folder, '')}`, async () => {
    const given = typeof parameters === 'string' ? await prepare(parameters) : parameters
    const found = await expectProblem(code, advice, strictly(given))
    assert.equal(found.attempts.at(-1)?.problem?.code, code)
  })
}

/** Parameters for which files have to be made. */
async function prepare(name: 'revoked' | 'open key' | 'not PEM'): Promise<Record<string, string>> {
  const login = { user: 'secretive', sslmode: 'verify-ca', sslrootcert: authority.certificate }
  if (name === 'revoked') return { ...login, sslcrl: await authority.revoke(identity) }
  const file = join(folder, name)
  if (name === 'not PEM') {
    await writeFile(file, '-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n')
    return { ...login, sslcert: file, sslkey: client.key }
  }
  await copyFile(client.key, file)
  await chmod(file, 0o644)
  return { ...login, sslcert: client.certificate, sslkey: file }
}

test('no-pg-hba-entry: the line that is advised lets the user in', async () => {
  const conninfo = strictly({ user: 'newcomer', password: PASSWORD })
  const before = problemOf(await report(conninfo))
  assert.equal(before.code, 'no-pg-hba-entry')
  const line = /^ {4}(.*)$/m.exec(before.advice)![1]!
  await strict.writeFile('pg_hba.conf', `${HBA}${line}\n`)
  await using admin = await open(strict.conninfo())
  await admin.client.query('SELECT pg_reload_conf()')
  await until(async () => (await report(conninfo)).ok, { what: 'the line to be in force' })
})

test('login-refused: the operating system’s user is another', async () => {
  await expectProblem(
    'login-refused',
    /"peered"/,
    list({ host: strict.host, port: strict.port, user: 'peered' }),
  )
})

test('wrong-password: it says where the password came from', async () => {
  const passfile = join(folder, 'wrong.pass')
  await writeFile(passfile, `*:*:*:*:${MARKER}\n`, { mode: 0o600 })
  const login = strictly({ user: 'scram' })
  await expectProblem('wrong-password', /\(from: environment PGPASSWORD\)/, login, { PGPASSWORD: MARKER })
  await expectProblem('wrong-password', /from: password file \/.*wrong\.pass\)/, login, {
    PGPASSFILE: passfile,
  })
})

test('password-file-permissions, and a password file without a line that fits', async () => {
  const passfile = join(folder, 'open.pass')
  await writeFile(passfile, `*:*:*:*:${MARKER}\n`)
  await chmod(passfile, 0o644)
  const conninfo = strictly({ user: 'scram', passfile })
  const found = await expectProblem('password-file-permissions', /chmod 0600 \/.*open\.pass$/, conninfo)
  assert.match(found.warnings.join('\n'), /has group or world access/)
  // A password that is not needed is no problem, but the file is still worth a warning.
  const unneeded = await report(`${bare.conninfo()}&passfile=${passfile}`)
  assert.equal(unneeded.ok, true)
  assert.match(unneeded.warnings.join('\n'), /has group or world access/)

  await writeFile(join(folder, 'strangers.pass'), `elsewhere:*:*:*:${MARKER}\n`, { mode: 0o600 })
  const other = strictly({ user: 'scram', passfile: join(folder, 'strangers.pass') })
  await expectProblem(
    'no-password',
    new RegExp(`no line for db\\.test:${strict.port}:postgres:scram\\.`),
    other,
  )
})

test('connection-refused, socket-missing, socket-refused', async () => {
  const port = await freePort()
  await expectProblem('connection-refused', /^Nothing listens on port/, list({ host: '127.0.0.1', port }))
  await expectProblem('socket-missing', /unix_socket_directories/, list({ host: folder, port }))
  await writeFile(join(folder, `.s.PGSQL.${port}`), '')
  await expectProblem('socket-refused', /Start the server/, list({ host: folder, port }))
})

test('unknown-host, or that there is no name server', async () => {
  const problem = problemOf(await report('host=nowhere.invalid'))
  assert.match(problem.code, /^(?:unknown-host|name-server-unavailable)$/)
  assert.match(problem.advice, /"nowhere\.invalid"/)
})

test('accepts-and-is-silent and silent-server: it does not hang', async () => {
  await using deaf = await startListener(() => {})
  await using proxy = await startProxy(bare.tcp)
  let asked = false
  proxy.onChunk = (direction, chunk) => {
    asked ||= direction === 'toServer' && chunk.includes('SELECT')
    return asked ? null : chunk
  }
  const started = performance.now()
  const silent = list({ host: '127.0.0.1', port: proxy.port, user: 'postgres', dbname: 'postgres' })
  await Promise.all([
    expectProblem(
      'accepts-and-is-silent',
      /within 1 s/,
      list({ host: '127.0.0.1', port: deaf.port, connect_timeout: 1 }),
    ),
    expectProblem(
      'accepts-and-is-silent',
      /within 10 s/,
      list({ host: '127.0.0.1', port: deaf.port, connect_timeout: 0 }),
    ),
    expectProblem('silent-server', /overloaded/, silent),
  ])
  assert.ok(performance.now() - started < 20_000)
})

test('closed, connection-lost and not-postgresql', async () => {
  await using closing = await startListener((socket) => socket.end())
  for (const sslmode of ['disable', 'prefer', 'allow']) {
    await expectProblem('closed', /hung up/, list({ host: '127.0.0.1', port: closing.port, sslmode }))
  }
  await using web = await startListener((socket) =>
    socket.on('data', () => socket.write('HTTP/1.1 400 Bad Request\r\n')),
  )
  await expectProblem('speaks-http', /web server/, list({ host: '127.0.0.1', port: web.port }))
  await using alert = await startListener((socket) =>
    socket.on('data', () => socket.write(Buffer.from([0x15, 3, 3, 0, 2, 2, 70]))),
  )
  await expectProblem('speaks-tls', /sslnegotiation=direct/, list({ host: '127.0.0.1', port: alert.port }))
  await using other = await startListener((socket) => socket.on('data', () => socket.write('?')))
  await expectProblem('not-postgresql', /another service/, list({ host: '127.0.0.1', port: other.port }))
  await using proxy = await startProxy(bare.tcp)
  proxy.onChunk = (direction, chunk) => {
    if (direction === 'toServer' && chunk.includes('SELECT')) proxy.cut('reset')
    return chunk
  }
  const login = { host: '127.0.0.1', port: proxy.port, user: 'postgres', dbname: 'postgres' }
  await expectProblem('connection-lost', /log/, list(login))
})

test('shutting-down: a server that waits for its clients to leave', async () => {
  await using server = await startServer()
  const guest = await open(server.conninfo())
  const stopped = server.stop('smart')
  try {
    await until(async () => (await server.log()).includes('smart shutdown'), {
      what: 'the shutdown to begin',
    })
    await expectProblem('shutting-down', /in a moment/, server.conninfo())
  } finally {
    await guest.client.end()
    await stopped
  }
})

for (const [code, advice, letter, body] of [
  ['starting-up', /Try again/, 'E', errorBody('57P03', 'the database system is starting up')],
  ['too-many-connections', /pooler/, 'E', errorBody('53300', 'sorry, too many clients already')],
  ['refused-by-pooler', /PgBouncer/, 'E', errorBody('08P01', 'unsupported startup parameter: geqo')],
  ['refused', /SQLSTATE XX000/, 'E', errorBody('XX000', 'something is wrong')],
  ['method-unsupported', /scram-sha-256/, 'R', Buffer.from([0, 0, 0, 7])],
] as const) {
  test(`${code}: what a server says that is not easily made to say it`, async () => {
    await using server = await listenAndSay(letter, body)
    await expectProblem(code, advice, list({ host: '127.0.0.1', port: server.port, sslmode: 'disable' }))
  })
}

for (const [conninfo, message, advice] of [
  ['shop', /^missing "=" after "\*\*\*"/, /dbname=NAME/],
  ['database=shop', /^invalid connection option "database"/, /^Did you mean dbname\?/],
  ['postgres://h?SSL-Mode=require', /^invalid URI query parameter/, /^Did you mean sslmode\?/],
  ['nonsense=1', /^invalid connection option/, /^The names are libpq’s/],
  ["host='a", /^unterminated/, /single quote/],
  ['postgres://h/%zz', /^invalid percent-encoded token/, /%25/],
  ['host=h port=0', /^invalid port number: "0"/, /65535/],
  [`postgres://u:${MARKER}/x@h/d`, /"@" behind the host/, /"@" is %40/],
  ['host=a,b port=1,2,3', /^could not match/, /one port for all/],
  ['service=nowhere', /^definition of service "nowhere" not found/, /PGSERVICEFILE/],
  ['hostaddr=localhost', /^could not parse network address/, /goes into host/],
  ['sslmode=require sslrootcert=system', /^weak sslmode/, /sslmode/],
  ['requirepeer=postgres', /^requirepeer parameter is not supported/, /weaker/],
  ['sslmode=sometimes', /^invalid sslmode value: "sometimes"/, /manual/],
] as const) {
  test(`conninfo: ${conninfo}`, async () => {
    const found = await expectProblem('conninfo', advice, conninfo)
    assert.match(found.problem!.message, message)
    assert.deepEqual(found.attempts, [])
  })
}

const LOGIN = `u:${MARKER}@127.0.0.1`
for (const [conninfo, advice] of [
  [`postgres://${LOGIN}/d?schema=public`, /^This is a parameter of Prisma’s.*search_path/],
  [`postgres://${LOGIN}/d?connection_limit=1`, /one connection/],
  [`postgres://${LOGIN}/d?pgbouncer=true`, /pooler: 'transaction'/],
  [`postgres://${LOGIN}/d?sslaccept=strict`, /verify-full/],
  [`jdbc:postgresql://127.0.0.1/d?user=u&password=${MARKER}&ssl=true`, /^This is a string for JDBC/],
  [`postgres://${LOGIN}/d?currentSchema=a`, /JDBC/],
  [`postgres://${LOGIN}/d?ssl=1`, /Heroku/],
  [`postgres://${LOGIN}/d?rejectUnauthorized=false`, /sslmode=require/],
  [`postgres://${LOGIN}/d?uselibpqcompat=true`, /Leave it out/],
  [`postgres://${LOGIN}/d?sslmode=no-verify`, /that is sslmode=require/],
  [`mysql://${LOGIN}/d`, /another database/],
  [`http://${LOGIN}/d`, /^The scheme must be/],
  [`POSTGRES://${LOGIN}/d`, /small letters/],
  [`postgres:${LOGIN}/d`, /two slashes/],
  [`prisma://${LOGIN}/?api_key=${MARKER}`, /speaks HTTP/],
  [`postgresql+asyncpg://${LOGIN}/d`, /SQLAlchemy/],
  [`"postgres://${LOGIN}/d"`, /^The quotes/],
  [`DATABASE_URL='postgres://${LOGIN}/d'`, /^The quotes/],
  [`DATABASE_URL=postgres://${LOGIN}/d`, /name of a variable/],
  [` postgres://${LOGIN}/d`, /space before the scheme/],
  [`postgres://${LOGIN}/d?\nsslmode=require`, /^There is a line break/],
] as const) {
  test(`conninfo: what others write: ${JSON.stringify(conninfo)}`, async () => {
    await expectProblem('conninfo', advice, conninfo)
  })
}

test('a line break at the end of a URI that is understood all the same', async () => {
  const found = await report(`${bare.tcpConninfo()}\n`)
  assert.match(found.warnings.join('\n'), /line break in the connection string/)
})

test('a pooler in between is named, with what it means', { skip: withoutPgBouncer }, async () => {
  await using bouncer = await startPgBouncer(bare, 'transaction')
  const conninfo = list({ host: bouncer.host, port: bouncer.port, user: 'postgres', dbname: 'postgres' })
  const found = await report(conninfo)
  assert.equal(found.connection?.pooler, true)
  assert.match(found.warnings.join('\n'), /pooler: ‘transaction’ and prepare: false/)
  await using proxy = await startProxy({ host: bouncer.host, port: bouncer.port })
  const behind = await report(
    list({ host: '127.0.0.1', port: proxy.port, user: 'postgres', dbname: 'postgres' }),
  )
  assert.equal(behind.connection?.pooler, true)
})

test('a bad value is shown with its source', async () => {
  const found = await expectProblem('conninfo', /manual/, 'host=h', { PGSSLMODE: 'sometimes' })
  assert.deepEqual(parameter(found, 'sslmode'), ['sometimes', 'environment', 'PGSSLMODE'])
})

// --- passwords ---

test('no password is printed, wherever it comes from and whatever becomes of it', async () => {
  const service = join(folder, 'secret.service')
  const passfile = join(folder, 'secret.pass')
  await writeFile(service, `[secret]\npassword=${MARKER}\nsslpassword=${MARKER}\n[broken]\n${MARKER}\n`)
  await writeFile(passfile, `*:*:*:*:${MARKER}\n`, { mode: 0o600 })
  const { port } = strict
  const at = `127.0.0.1:${port}`
  const ways: [string, Environment?][] = [
    [`host=127.0.0.1 port=${port} user=scram password=${MARKER}`],
    [`postgres://scram:${MARKER}@${at}/postgres`],
    [`postgres://${at}/postgres?user=scram&password=${MARKER}`],
    [`host=127.0.0.1 port=${port} user=scram`, { PGPASSWORD: MARKER }],
    [`host=127.0.0.1 port=${port} user=scram`, { PGPASSFILE: passfile }],
    [`host=127.0.0.1 port=${port} user=scram service=secret`, { PGSERVICEFILE: service }],
    ['service=broken', { PGSERVICEFILE: service }],
    [strictly({ user: 'scram', sslpassword: MARKER, oauth_client_secret: MARKER, sslmode: 'require' })],
    // What is not percent-encoded, or not quoted, goes astray.
    [`postgres://scram:${MARKER}@${MARKER}@${at}/postgres`],
    [`postgres://scram:1/${MARKER}@${at}/postgres`],
    [`postgres://scram:${MARKER}/1@${at}/postgres`],
    [`postgres://scram:/${MARKER}@${at}/postgres`],
    [`postgres://scram:x@1/${MARKER}@${at}/postgres`],
    [`postgres://scram:${MARKER}?${MARKER}#${MARKER}@${at}/postgres`],
    [`postgres://scram:%${MARKER}@${at}/postgres`],
    [`postgres://scram:,[/?${MARKER}:12]/@${at}/postgres`],
    [`host=h password=a ${MARKER}`],
    [`host=h password=a ${MARKER}=1`],
    [`host=h password='${MARKER}`],
    [`host=h dbname=postgres://u:${MARKER}@h/d`],
    [`user=scram password=${MARKER} scram_client_key=${MARKER}`],
    [`password=${MARKER} sslmode=wrong`],
  ]
  for (const [conninfo, env = {}] of ways) {
    for (const flags of [[], ['--json']]) {
      const { code, stdout, stderr } = await runProgram(['check', conninfo, ...flags], env)
      assert.equal(code, 1, conninfo)
      assert.ok(!`${stdout}${stderr}`.includes(MARKER), `${conninfo}\n${stdout}${stderr}`)
    }
  }
  for (const args of [[`--password=${MARKER}`], ['check', 'a', MARKER], [MARKER], [`-${MARKER}`]]) {
    const { code, stdout, stderr } = await runProgram(args)
    assert.equal(code, 2)
    assert.ok(!`${stdout}${stderr}`.includes(MARKER))
  }
})

test('no piece of a password in a URI is listed, whatever it is made of', (t) => {
  const seed = Number(process.env['SEED'] || Date.now() % 1_000_000)
  t.diagnostic(`SEED=${seed}`)
  const random = new Random(seed)
  const pieces = [MARKER, MARKER, ...'1/@:?#%&=,[]. ', '%40', '12', ',[', '[/?', ']/']
  const some = () => Array.from({ length: random.below(6) }, () => random.pick(pieces)).join('')
  let listed = 0
  for (let count = 0; count < 20_000; count++) {
    const uri = `postgres://u:${some()}${MARKER}${some()}@h${random.pick([':1', '', ',i:2'])}/db`
    try {
      refuseStrayAt(uri)
      assert.ok(!JSON.stringify(listParameters(uri, { HOME: '/nonexistent' })).includes(MARKER), uri)
      listed += 1
    } catch (error) {
      assert.ok(error instanceof ConninfoError, String(error))
      assert.ok(!error.message.includes(MARKER), uri)
    }
  }
  assert.ok(listed > 1000, String(listed))
})

// --- how it is printed ---

test('the report is also printed for people', async () => {
  const good = await runProgram(['check', '--all', strictly({ user: 'scram', password: PASSWORD })])
  assert.equal(good.code, 0, good.stdout)
  for (const line of [
    /^Parameters$/m,
    /^ {2}password +\*\*\* +connection string$/m,
    /^ {2}krbsrvname +postgres +default, without effect$/m,
    /^ {2}✔ db\.test \(127\.0\.0\.1\), port \d+: connected in [\d.]+ ms$/m,
    new RegExp(`^ {2}server +PostgreSQL ${version}`, 'm'),
    /^ {2}encryption +TLSv1\.3, TLS_/m,
    /^ {2}certificate +CN=common\.test \(DNS:db\.test, DNS:localhost\)$/m,
    /^ {4}matches host +yes$/m,
    noSystemUser
      ? /^ {2}authentication +scram-sha-256 with channel binding$/m
      : /^ {2}authentication +scram-sha-256 with channel binding; for the server:\n +scram-sha-256:scram$/m,
    /^ {2}role +scram \(not a superuser\)$/m,
    /^ {2}access +read-write$/m,
    /^ {2}round trip +[\d.]+ ms, the median of 9 times SELECT 1$/m,
    /^ {2}! the server’s certificate was not verified/m,
    new RegExp(`^The connection works: PostgreSQL ${version}`),
  ]) {
    assert.match(good.stdout, line)
  }
  assert.equal(good.stderr, '')
  const bad = await runProgram(['check', strictly({ user: 'scram', password: 'wrong' })])
  assert.equal(bad.code, 1)
  const failed =
    /^The connection does not work\. db\.test \(127\.0\.0\.1\), port \d+: FATAL: .*\n.*authentication failed/
  assert.match(bad.stdout.replace('password\n', '\npassword '), failed)
  assert.match(bad.stdout, /^→ The password \(from: connection string\)/m)
  assert.match(bad.stdout, /^ {2}✘ db\.test/m)
  const { stdout } = await runProgram(['check', 'nonsense=1'])
  assert.match(stdout, /^The connection does not work\. invalid connection option "nonsense"\n→ /)
})

test('parameters at their defaults are listed with --all only', async () => {
  const brief = await runProgram(['check', bare.conninfo()])
  assert.match(brief.stdout, /^ {2}user +postgres +connection string$/m)
  assert.doesNotMatch(brief.stdout, /krbsrvname/)
  assert.match(brief.stdout, /^ {2}\d+ are at the default; --all lists them$/m)
  assert.match((await runProgram(['check', '--all', bare.conninfo()])).stdout, /krbsrvname/)
})

test('no line is wider than the terminal, not even with a long value', async () => {
  const conninfo = list({
    host: '127.0.0.1',
    port: await freePort(),
    application_name: `${'x'.repeat(150)}/y`,
  })
  for (const columns of [undefined, 40, 61]) {
    let text = ''
    const stdout = { columns, write: (more: string) => (text += more) }
    await run(['check', '--all', conninfo], {
      env: { HOME: '/nonexistent' },
      stdout: stdout as never,
      stderr: stdout as never,
    })
    const widest = Math.max(...text.split('\n').map((line) => line.length))
    assert.ok(widest <= (columns ?? 80), text)
  }
})

test('progress on a terminal, and only there, once it takes long', async () => {
  await using deaf = await startListener(() => {})
  const conninfo = list({ host: '127.0.0.1', port: deaf.port, connect_timeout: 2 })
  const watch = async (isTTY: boolean): Promise<string> => {
    let text = ''
    const stderr = { isTTY, columns: 60, write: (more: string) => (text += more) }
    await run(['check', conninfo], {
      env: { HOME: '/nonexistent' },
      stdout: { write: () => true },
      stderr: stderr as never,
    })
    return text
  }
  const shown = await watch(true)
  assert.match(shown, /waiting for 127\.0\.0\.1, port \d+ to let us in, for [\d.]+ s/)
  assert.ok(shown.endsWith('\r\x1b[K'))
  assert.equal(await watch(false), '')
})

test('what a server or a parameter says cannot steer the terminal', async () => {
  await using server = await listenAndSay('E', errorBody('XX000', '\x1b[2Jboo\x9b\u202e'))
  const conninfo = list({ host: '127.0.0.1', port: server.port, dbname: '\x1b]0;x\x07' })
  const { stdout } = await runProgram(['check', conninfo])
  assert.match(stdout, /boo/)
  assert.doesNotMatch(stdout, /[^\P{Cc}\n]|\u202e/u)
})

test('colours only for a terminal, and not with --no-color or NO_COLOR', async () => {
  const paint = async (args: string[], isTTY: boolean, env: Environment = {}) => {
    let text = ''
    const stdout = { isTTY, hasColors: () => true, write: (more: string) => (text += more) }
    await run(args, {
      env: { HOME: '/nonexistent', ...env },
      stdout: stdout as never,
      stderr: stdout as never,
    })
    return text.includes('\x1b[')
  }
  assert.equal(await paint(['check', 'nonsense=1'], true), true)
  assert.equal(await paint(['check', 'nonsense=1'], false), false)
  assert.equal(await paint(['check', 'nonsense=1', '--no-color'], true), false)
  assert.equal(await paint(['check', 'nonsense=1'], true, { NO_COLOR: '1' }), false)
  assert.equal(await paint(['check', 'nonsense=1', '--json'], true), false)
})

test('wrong usage is told, with exit status 2; --help and --version are answered', async () => {
  for (const args of [
    [],
    ['chekc'],
    ['check', 'host=a', 'port=1'],
    ['check', '--nope'],
    ['--json=yes', 'check'],
  ]) {
    const { code, stdout, stderr } = await runProgram(args)
    assert.deepEqual([code, stdout], [2, ''])
    assert.match(stderr, /^pg-managed-connection: .*\n\nusage: pg-managed-connection check \[CONNINFO\]/)
  }
  const help = await runProgram(['--help'])
  assert.equal(help.code, 0)
  assert.match(help.stdout, /^usage:/)
  const version = await runProgram(['--version'])
  assert.equal(version.stdout, `${packageJson().version}\n`)
})

test('without a connection string it takes everything from the environment', async () => {
  const { stdout, code } = await runProgram(['check', '--json'], bare.env)
  assert.equal(code, 0)
  assert.deepEqual(parameter(JSON.parse(stdout) as Report, 'host'), [bare.host, 'environment', 'PGHOST'])
})

test('the package installs the command', () => {
  const path = packageJson().bin['pg-managed-connection']
  assert.equal(pathOf(path!), COMMAND)
  assert.match(readFileSync(COMMAND, 'utf8'), /^#!\/usr\/bin\/env node\n/)
})

function packageJson() {
  const text = readFileSync(new URL('package.json', root), 'utf8')
  return JSON.parse(text) as { version: string; bin: Record<string, string> }
}

// --- what is written about it ---

/** The rows of the table under a heading: the first two cells of each, the first without its backquotes. */
function readRows(page: string, heading: string): [string, string][] {
  const text = readFileSync(new URL(`docs/${page}`, root), 'utf8')
  const section = text.split(/^## /m).find((one) => one.startsWith(`${heading}\n`)) ?? ''
  return [...section.matchAll(/^\| `([^`]+)` *\| *([^|]*?) *\|/gm)].map(([, first, second]) => [
    first!,
    second!,
  ])
}

test('docs/connection-strings.md lists every keyword with its effect', () => {
  const expected = [...keywords].map(([name, { effect }]): [string, string] => [name, effect])
  assert.deepEqual(readRows('connection-strings.md', 'Keywords').sort(), expected.sort())
})

test('docs/connection-strings.md lists the environment variable and the default of every keyword', () => {
  const text = readFileSync(new URL('docs/connection-strings.md', root), 'utf8')
  for (const [name, { env, fallback }] of keywords) {
    const row = new RegExp(`^\\| \`${name}\`.*$`, 'm').exec(text)?.[0] ?? ''
    if (env !== undefined) assert.ok(row.includes(`\`${env}\``), `${env} in: ${row}`)
    if (fallback) assert.ok(row.includes(`\`${fallback}\``), `${fallback} in: ${row}`)
  }
})

test('docs/check.md lists every kind of problem', () => {
  const listed = readRows('check.md', 'Kinds of problems').map(([code]) => code)
  assert.deepEqual(listed.sort(), [...problemCodes].sort())
})
