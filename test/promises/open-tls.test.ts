/** Encryption: each sslmode against right, misnamed, untrusted and absent certificates. */
import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { inspect } from 'node:util'
import type { ConnectionParameters } from 'pg-managed-connection/conninfo'
import { Authority } from '../support/conninfo/certificates.js'
import { isTransientOpenError, planConnection } from '../support/conninfo/internals.js'
import { ask, EMPTY_ENVIRONMENT, failure, open } from '../support/conninfo/opening.js'
import { startServer } from '../support/postgres.js'
import { startProxy } from '../support/proxy.js'
import { tooOld } from '../support/server-version.js'
import { leakTest } from '../support/suite.js'
import { TemporaryFolder } from '../support/temporary-folder.js'
import { within } from '../support/wait.js'

const test = leakTest()
const PASSWORD = 'correct horse'

const authority = await Authority.create('test authority')
const stranger = await Authority.create('another authority')
after(() => Promise.all([authority, stranger].map((one) => one[Symbol.asyncDispose]())))

const identity = await authority.sign('common.test', 'DNS:db.test, DNS:*.wild.test, IP:127.0.0.1')
const client = await authority.sign('certified')
const impostor = await stranger.sign('certified')

const HBA = `
hostssl   all postgres  127.0.0.1/32 trust
hostnossl all postgres  127.0.0.1/32 trust
hostssl   all secretive 127.0.0.1/32 trust
hostnossl all careless  127.0.0.1/32 trust
hostssl   all certified 127.0.0.1/32 cert
host      all scram     127.0.0.1/32 scram-sha-256
host      all plain     127.0.0.1/32 password
local     all all                    trust
`
const { certificate: certificateText, key: keyText } = await identity.read()
const server = await startServer({
  hba: HBA,
  conf: ['ssl = on', "ssl_ca_file = 'root.crt'"],
  files: {
    'server.crt': certificateText,
    'server.key': keyText,
    'root.crt': await readFile(authority.certificate, 'utf8'),
  },
})
const bare = await startServer()
after(() => Promise.all([server, bare].map((one) => one[Symbol.asyncDispose]())))
let version!: string
{
  await using admin = await open(server.conninfo())
  version = admin.session.serverVersion
  await admin.client.query(`
    CREATE ROLE secretive LOGIN; CREATE ROLE careless LOGIN; CREATE ROLE certified LOGIN;
    CREATE ROLE scram LOGIN PASSWORD '${PASSWORD}'; CREATE ROLE plain LOGIN PASSWORD '${PASSWORD}'`)
}

const { port } = server
const lookUp = async () => ['127.0.0.1']
const roots = { right: authority.certificate, untrusted: stranger.certificate, none: '' }

type Outcome = 'tls' | 'verified' | 'none' | RegExp

/** Opens, and says how: encrypted, encrypted with a verified certificate, in clear, or the message. */
async function outcome(parameters: ConnectionParameters, env = EMPTY_ENVIRONMENT): Promise<string> {
  const login = { port, dbname: 'postgres', user: 'postgres', ...parameters }
  try {
    await using opened = await open(login, { lookUp, env })
    const encrypted = await ask(opened, 'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()')
    assert.equal(encrypted, opened.encryption === 'tls')
    assert.equal(opened.session.tls !== null, encrypted)
    return opened.session.tls === null ? 'none' : opened.session.tls.verified ? 'verified' : 'tls'
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_CONNECT') throw error
    return (error as Error).message
  }
}

async function expect(expected: Outcome, ...args: Parameters<typeof outcome>): Promise<void> {
  const got = await outcome(...args)
  if (typeof expected === 'string') assert.equal(got, expected)
  else assert.match(got, expected)
}

const UNTRUSTED = /certificate verify failed/
const MISNAMED =
  /server certificate for "db\.test" \(and 2 other names\) does not match host name "other\.test"/
const NO_ROOT = /root certificate file ".*" does not exist/
const NO_TLS = /server does not support SSL, but SSL was required/

// What libpq does: a root certificate makes it verify in every mode, and prefer goes on without TLS.
const TABLE: Record<string, Record<'right' | 'misnamed' | 'untrusted' | 'noRoot' | 'absent', Outcome>> = {
  disable: { right: 'none', misnamed: 'none', untrusted: 'none', noRoot: 'none', absent: 'none' },
  allow: { right: 'none', misnamed: 'none', untrusted: 'none', noRoot: 'none', absent: 'none' },
  prefer: { right: 'verified', misnamed: 'verified', untrusted: 'none', noRoot: 'tls', absent: 'none' },
  require: { right: 'verified', misnamed: 'verified', untrusted: UNTRUSTED, noRoot: 'tls', absent: NO_TLS },
  'verify-ca': {
    right: 'verified',
    misnamed: 'verified',
    untrusted: UNTRUSTED,
    noRoot: NO_ROOT,
    absent: NO_TLS,
  },
  'verify-full': {
    right: 'verified',
    misnamed: MISNAMED,
    untrusted: UNTRUSTED,
    noRoot: NO_ROOT,
    absent: NO_TLS,
  },
}

for (const [sslmode, expected] of Object.entries(TABLE)) {
  test(`sslmode=${sslmode}: right, misnamed, untrusted, unverifiable and absent certificates`, async () => {
    const ours = { sslmode, sslrootcert: roots.right }
    await expect(expected.right, { ...ours, host: 'db.test' })
    await expect(expected.misnamed, { ...ours, host: 'other.test' })
    await expect(expected.untrusted, { sslmode, host: 'db.test', sslrootcert: roots.untrusted })
    await expect(expected.noRoot, { sslmode, host: 'db.test' })
    await expect(expected.absent, { ...ours, host: 'db.test', port: bare.port })
  })
}

test('verify-full takes wildcards for one label, addresses, and no common name beside other names', async () => {
  const full = { sslmode: 'verify-full', sslrootcert: roots.right }
  await expect('verified', { ...full, host: 'a.wild.test' })
  await expect(/does not match/, { ...full, host: 'a.b.wild.test' })
  await expect(/does not match/, { ...full, host: 'wild.test' })
  await expect('verified', { ...full, host: '127.0.0.1' })
  await expect(/does not match/, { ...full, host: '127.0.0.2', hostaddr: '127.0.0.1' })
  await expect('verified', { ...full, host: 'db.test', hostaddr: '127.0.0.1' })
  await expect(/does not match/, { ...full, host: 'common.test' })
  await expect(/host name must be specified/, { ...full, hostaddr: '127.0.0.1' })
})

test('a failed verification is not worth another try', async () => {
  const error = await failure(
    { host: 'db.test', port, sslmode: 'verify-full', sslrootcert: roots.untrusted },
    { lookUp },
  )
  assert.equal(error.errors[0]?.kind, 'tls')
  assert.equal(isTransientOpenError(error), false)
})

test('the default files in ~/.postgresql are used when they are there', async () => {
  const HOME = await mkdtemp(join(tmpdir(), 'home-'))
  const folder = join(HOME, '.postgresql')
  try {
    await mkdir(folder)
    await copyFile(roots.right, join(folder, 'root.crt'))
    await expect('verified', { host: 'db.test', sslmode: 'verify-full' }, { HOME })
    await expect('verified', { host: 'db.test' }, { HOME })
    await copyFile(client.certificate, join(folder, 'postgresql.crt'))
    await expect(
      /certificate present, but not private key file/,
      { host: 'db.test', sslmode: 'require' },
      { HOME },
    )
    await copyFile(client.key, join(folder, 'postgresql.key'))
    await chmod(join(folder, 'postgresql.key'), 0o600)
    await expect('verified', { host: 'db.test', user: 'certified' }, { HOME })
    await copyFile(await authority.revoke(identity), join(folder, 'root.crl'))
    await expect(/certificate revoked/i, { host: 'db.test', sslmode: 'require' }, { HOME })
  } finally {
    await rm(HOME, { recursive: true })
  }
})

test('sslrootcert=system trusts what the system trusts, and means verify-full', async () => {
  const before = process.env['SSL_CERT_FILE']
  process.env['SSL_CERT_FILE'] = roots.right
  try {
    await expect('verified', { host: 'db.test', sslrootcert: 'system' })
    await expect(MISNAMED, { host: 'other.test', sslrootcert: 'system' })
    process.env['SSL_CERT_FILE'] = roots.untrusted
    await expect(UNTRUSTED, { host: 'db.test', sslrootcert: 'system' })
  } finally {
    if (before === undefined) delete process.env['SSL_CERT_FILE']
    else process.env['SSL_CERT_FILE'] = before
  }
})

test('allow turns to TLS, and prefer away from it, when the server refuses the other', async () => {
  await expect('tls', { host: 'db.test', user: 'secretive', sslmode: 'allow' })
  await expect('none', { host: 'db.test', user: 'careless', sslmode: 'prefer' })
  await expect(/no pg_hba.conf entry .* no encryption/s, {
    host: 'db.test',
    user: 'secretive',
    sslmode: 'disable',
  })
  await expect(/no pg_hba.conf entry .* SSL encryption/s, {
    host: 'db.test',
    user: 'careless',
    sslmode: 'require',
  })
  const error = await failure({ host: 'db.test', port, user: 'nobody', dbname: 'postgres' }, { lookUp })
  assert.equal(error.errors.length, 1)
  assert.equal(error.errors[0]?.cause?.code, '28000')
  assert.match(error.message, /\(with SSL\), then .* \(without SSL\)/)
})

test('a refused password is not sent a second time without encryption', async () => {
  await using proxy = await startProxy(server.tcp)
  const error = await failure(
    { host: 'db.test', port: proxy.port, user: 'plain', password: 'wrong', dbname: 'postgres' },
    { lookUp },
  )
  assert.equal(error.errors[0]?.cause?.code, '28P01')
  assert.equal(proxy.accepted, 1)
})

test('a client certificate logs in; without it, or with a stranger’s, nobody does', async () => {
  const login = { host: 'db.test', user: 'certified', sslmode: 'require' }
  await expect('tls', { ...login, sslcert: client.certificate, sslkey: client.key })
  await expect(/requires a valid client certificate/, login)
  await expect(/requires a valid client certificate/, {
    ...login,
    sslcert: client.certificate,
    sslkey: client.key,
    sslcertmode: 'disable',
  })
  await expect(/unknown ca/i, { ...login, sslcert: impostor.certificate, sslkey: impostor.key })
})

test('a key behind a password needs sslpassword, which no message shows', async () => {
  const sslkey = await authority.lockKey(client, 'keyhole')
  await chmod(sslkey, 0o600)
  const login = {
    host: 'db.test',
    user: 'certified',
    sslmode: 'require',
    sslcert: client.certificate,
    sslkey,
  }
  await expect('tls', { ...login, sslpassword: 'keyhole' })
  const message = await outcome({ ...login, sslpassword: 'peephole' })
  assert.match(message, /could not set up TLS/)
  assert.ok(!message.includes('peephole'))
  await expect(/could not set up TLS/, login)
})

test('a key in DER is taken, of each kind that OpenSSL writes', async () => {
  const login = { host: 'db.test', user: 'certified', sslmode: 'require', sslcert: client.certificate }
  const key = createPrivateKey(await readFile(client.key))
  await using folder = await TemporaryFolder.make()
  for (const type of ['pkcs8', 'sec1'] as const) {
    const sslkey = join(folder.path, `${type}.der`)
    await writeFile(sslkey, key.export({ format: 'der', type }), { mode: 0o600 })
    await expect('tls', { ...login, sslkey })
  }
  const sslkey = join(folder.path, 'none.der')
  await writeFile(sslkey, 'no key', { mode: 0o600 })
  await expect(/could not set up TLS/, { ...login, sslkey })
})

test('a key that others can read is refused, and so are named files that are not there', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'key-'))
  const sslkey = join(folder, 'open.key')
  await copyFile(client.key, sslkey)
  await chmod(sslkey, 0o644)
  const login = { host: 'db.test', sslcert: client.certificate, sslkey }
  try {
    await expect(/has group or world access/, { ...login, sslmode: 'require' })
    // Not a reason to go on without encryption.
    await expect(/has group or world access/, { ...login, sslmode: 'prefer' })
    for (const keyword of ['sslrootcert', 'sslcert', 'sslcrl', 'sslcrldir']) {
      const extra = keyword.startsWith('sslcrl') ? { sslrootcert: roots.right } : {}
      const named = { host: 'db.test', sslmode: 'require', ...extra, [keyword]: '/nonexistent' }
      await expect(/could not read/, named)
      assert.equal(isTransientOpenError(await failure({ port, ...named }, { lookUp })), false)
    }
    // These promise nothing, and do without the file as libpq does.
    await expect('tls', { host: 'db.test', sslmode: 'prefer', sslrootcert: '/nonexistent' })
    await expect('tls', { host: 'db.test', sslmode: 'prefer', sslcert: '/nonexistent' })
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('revoked certificates are refused, by file and by directory', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'crl-'))
  const login = { host: 'db.test', sslmode: 'verify-ca', sslrootcert: roots.right }
  try {
    const clean = await authority.revoke()
    await expect('verified', { ...login, sslcrl: clean })
    const lists = join(folder, 'clean')
    await mkdir(lists)
    await copyFile(clean, join(lists, await authority.revocationHash(clean)))
    const list = await authority.revoke(identity)
    // The list in ~/.postgresql counts where none is named, and only there.
    await mkdir(join(folder, '.postgresql'))
    await copyFile(list, join(folder, '.postgresql/root.crl'))
    await expect(/certificate revoked/i, login, { HOME: folder })
    await expect('verified', { ...login, sslcrldir: lists }, { HOME: folder })
    await expect(/certificate revoked/i, { ...login, sslcrl: list })
    await expect(/holds no certificate revocation list/, { ...login, sslcrldir: folder })
    await copyFile(list, join(folder, await authority.revocationHash(list)))
    await expect(/certificate revoked/i, { ...login, sslcrldir: folder })
  } finally {
    await rm(folder, { recursive: true })
  }
})

const noDirectTls = tooOld(version, 17, 'TLS from the first byte')

test('sslnegotiation=direct speaks TLS from the first byte', { skip: noDirectTls }, async () => {
  await using proxy = await startProxy(server.tcp)
  let first: number | undefined
  proxy.onChunk = (direction, chunk) => {
    if (direction === 'toServer') first ??= chunk[0]
    return chunk
  }
  const login = { host: 'db.test', sslmode: 'require', sslnegotiation: 'direct' }
  await expect('tls', { ...login, port: proxy.port })
  assert.equal(first, 0x16)
  await expect(/SSL error/, { ...login, port: bare.port })
})

test('the versions of TLS are bounded', async () => {
  const login = { host: 'db.test', port, sslmode: 'require', user: 'postgres', dbname: 'postgres' }
  for (const version of ['TLSv1.2', 'TLSv1.3']) {
    const bounds = { ssl_min_protocol_version: version.toLowerCase(), ssl_max_protocol_version: version }
    await using opened = await open({ ...login, ...bounds }, { lookUp })
    assert.equal(opened.session.tls?.protocol, version)
  }
})

test('the name is sent ahead unless sslsni=0, and never an address', async () => {
  await using proxy = await startProxy(server.tcp)
  let sent = ''
  proxy.onChunk = (direction, chunk) => {
    if (direction === 'toServer') sent += chunk.toString('latin1')
    return chunk
  }
  const login = { port: proxy.port, sslmode: 'require' }
  for (const [host, sslsni, expected] of [
    ['db.test', '1', true],
    ['db.test', '0', false],
    ['127.0.0.1', '1', false],
  ] as const) {
    sent = ''
    await expect('tls', { ...login, host, sslsni })
    assert.equal(sent.includes(host), expected, `${host}, sslsni=${sslsni}`)
  }
})

test('scram binds to the channel where it can, and channel_binding=require insists', async () => {
  const login = {
    host: 'db.test',
    port,
    user: 'scram',
    dbname: 'postgres',
    password: PASSWORD,
    sslmode: 'require',
  }
  for (const [channel_binding, method] of [
    ['prefer', 'scram-sha-256-plus'],
    ['require', 'scram-sha-256-plus'],
    ['disable', 'scram-sha-256'],
  ] as const) {
    await using opened = await open({ ...login, channel_binding }, { lookUp })
    assert.equal(opened.session.loginMethod, method)
  }
  const insisting = { ...login, channel_binding: 'require' }
  await expect(/channel binding required/, { ...insisting, user: 'plain' })
  await expect(/channel binding required/, { ...insisting, user: 'postgres' })
  await expect(/channel binding required/, { ...insisting, sslmode: 'prefer', port: bare.port })
})

test("pg's ssl: false, true and an object of options", async () => {
  await expect('none', { host: 'db.test', ssl: false })
  await expect(/certificate verify failed/, { host: 'db.test', ssl: true })
  const ca = await readFile(roots.right, 'utf8')
  await expect('verified', { host: 'db.test', ssl: { ca } })
  await expect(/SSL error/, { host: 'other.test', ssl: { ca } })
  await expect('tls', { host: 'other.test', ssl: { rejectUnauthorized: false } })
  await expect(NO_TLS, { host: 'db.test', port: bare.port, ssl: { ca } })
})

test('Unix sockets are never encrypted, whatever sslmode says', async () => {
  await expect('none', { host: server.host, sslmode: 'verify-full' })
})

test('sslkeylogfile receives the keys of the session', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'keylog-'))
  const sslkeylogfile = join(folder, 'keys')
  try {
    await expect('tls', { host: 'db.test', sslmode: 'require', sslkeylogfile })
    assert.match(await readFile(sslkeylogfile, 'utf8'), /^CLIENT_HANDSHAKE_TRAFFIC_SECRET /m)
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('what is known of the encryption is reported', async () => {
  const login = { host: 'db.test', port, user: 'postgres', dbname: 'postgres', sslmode: 'verify-full' }
  await using opened = await open({ ...login, sslrootcert: roots.right }, { lookUp })
  const { tls } = opened.session
  assert.equal(tls?.protocol, 'TLSv1.3')
  assert.equal(tls.verified, true)
  assert.equal(tls.certificate?.subject, 'CN=common.test')
  assert.equal(tls.certificate.issuer, 'CN=test authority')
  assert.match(tls.certificate.names, /DNS:db\.test/)
})

test('a cancel request is encrypted like the session', async () => {
  await using proxy = await startProxy(server.tcp)
  const CANCEL = Buffer.from([4, 210, 22, 46])
  let inClear = false
  proxy.onChunk = (direction, chunk) => {
    if (direction === 'toServer' && chunk.includes(CANCEL)) inClear = true
    return chunk
  }
  const login = { host: 'db.test', port: proxy.port, user: 'postgres', dbname: 'postgres' }
  for (const sslmode of ['prefer', 'require', 'disable']) {
    inClear = false
    await using opened = await open({ ...login, sslmode }, { lookUp })
    const sleeping = assert.rejects(opened.client.query('SELECT pg_sleep(30)'), { code: '57014' })
    await new Promise((resolve) => setTimeout(resolve, 50))
    await opened.cancel()
    await within(sleeping, 'the statement to be cancelled')
    assert.equal(inClear, sslmode === 'disable')
  }
})

test('a session that is encrypted is never cancelled in clear', async () => {
  await using proxy = await startProxy(server.tcp)
  const login = { host: 'db.test', port: proxy.port, user: 'postgres', dbname: 'postgres', sslmode: 'prefer' }
  await using opened = await open(login, { lookUp })
  proxy.onChunk = (direction, chunk) =>
    direction === 'toClient' && chunk.length === 1 && chunk[0] === 0x53 ? Buffer.from('N') : chunk
  await assert.rejects(opened.cancel({ timeoutMillis: 2000 }), /SSL was required/)
})

test('bytes in clear behind the server’s yes to TLS are refused', async () => {
  await using proxy = await startProxy(server.tcp)
  proxy.onChunk = (direction, chunk) =>
    direction === 'toClient' && chunk.length === 1 ? Buffer.from('SE') : chunk
  const login = { host: 'db.test', port: proxy.port, user: 'postgres', dbname: 'postgres' }
  for (const sslmode of ['prefer', 'require']) {
    await expect(/received unencrypted data after SSL response/, { ...login, sslmode })
  }
})

test('an object of TLS options is not shown when the plan is inspected', async () => {
  const ssl = { key: 'keyhole', passphrase: 'keyhole' }
  assert.ok(
    !inspect(planConnection({ ssl, password: 'keyhole' }, EMPTY_ENVIRONMENT), { depth: 9 }).includes(
      'keyhole',
    ),
  )
})
