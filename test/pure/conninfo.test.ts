/** Connection strings and objects: parsing, sources and their precedence, what is refused, what is shown. */
import assert from 'node:assert/strict'
import { ManagedConnection } from 'pg-managed-connection'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { userInfo, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { inspect } from 'node:util'
import {
  ConninfoError,
  parseConninfo,
  resolveConninfo,
  type ConnectionParameters,
} from 'pg-managed-connection/conninfo'
import { describeConninfo, keywords, planConnection } from '../support/conninfo/internals.js'
import { EMPTY_ENVIRONMENT } from '../support/conninfo/opening.js'
import { ConninfoMaker, seededRandom } from '../support/conninfo/random-conninfo.js'

const SEED = Number(process.env['SEED'] || Date.now() % 1_000_000)
const folder = await mkdtemp(join(tmpdir(), 'conninfo-'))
after(() => rm(folder, { recursive: true }))

/** The message with which something is refused. */
function refusal(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    assert.ok(error instanceof ConninfoError, inspect(error))
    assert.equal(error.code, 'ERR_CONNINFO')
    assert.equal(error.retrySafe, true)
    return error.message
  }
  return assert.fail('it was not refused')
}

const plan = (conninfo: string | ConnectionParameters, env: NodeJS.ProcessEnv = {}) =>
  planConnection(conninfo, { ...EMPTY_ENVIRONMENT, ...env })
const resolve = (conninfo: string | URL | ConnectionParameters, env: NodeJS.ProcessEnv = {}) =>
  resolveConninfo(conninfo, { ...EMPTY_ENVIRONMENT, ...env })

test('both forms of a connection string are read', () => {
  const expected = { host: 'a', port: '1', user: 'u', password: 'p q', dbname: 'd' }
  assert.deepEqual(parseConninfo('postgresql://u:p%20q@a:1/d'), expected)
  assert.deepEqual(parseConninfo("host=a port = 1 user=u password='p q' dbname=d"), expected)
  assert.deepEqual(parseConninfo(''), {})
  assert.deepEqual(parseConninfo('postgres://'), {})
})

for (const [conninfo, message] of [
  ['host', 'missing "=" after "host" in connection info string'],
  ['hunter2', 'missing "=" after "***" in connection info string'],
  ['user=app hunter2', 'missing "=" after "***" in connection info string'],
  ["host='a", 'unterminated quoted string in connection info string'],
  ['nonsense=1', 'invalid connection option "nonsense"'],
  ['postgres://h?nonsense=1', 'invalid URI query parameter: "nonsense"'],
  ['postgres://h?user', 'missing key/value separator "=" in URI query parameter: "user"'],
  ['postgres://h?user=a=b', 'extra key/value separator "=" in URI query parameter: "user"'],
  ['postgres://h/%zz', 'invalid percent-encoded token: "***"'],
  ['postgres://h/%00', 'forbidden value %00 in percent-encoded value: "***"'],
  ['postgres://h/a b', 'unexpected spaces found in "***", use percent-encoded spaces (%20) instead'],
  ['postgres://h/%ff', 'the value of "dbname" is not valid UTF-8'],
  ['postgres://[::1', 'end of string reached when looking for matching "]" in IPv6 host address in URI'],
  ['postgres://[]', 'IPv6 host address may not be empty in URI'],
  ['postgres://[::1]x', 'unexpected character at position 17 in URI (expected ":" or "/")'],
  ['host=a\0b', 'the connection string contains a zero byte'],
] as const) {
  test(`refused: ${inspect(conninfo)}`, () => {
    assert.equal(
      refusal(() => parseConninfo(conninfo)),
      message,
    )
  })
}

for (const [conninfo, message] of [
  ['port=x', 'invalid integer value "***" for connection option "port"'],
  ['port=0', 'invalid port number: "0"'],
  ['port=65536', 'invalid port number: "65536"'],
  ['host=a,b port=1,2,3', 'could not match 3 port numbers to 2 hosts'],
  ['host=a,b hostaddr=127.0.0.1', 'could not match 2 host names to 1 hostaddr values'],
  ['hostaddr=x', 'could not parse network address "x"'],
  ['connect_timeout=x', 'invalid integer value "x" for connection option "connect_timeout"'],
  ['connect_timeout=1.5', 'invalid integer value "1.5" for connection option "connect_timeout"'],
  ['keepalives=yes', 'invalid integer value "yes" for connection option "keepalives"'],
  ['tcp_user_timeout=x', 'invalid integer value "x" for connection option "tcp_user_timeout"'],
  ['sslmode=requier', 'invalid sslmode value: "requier"'],
  [
    'sslnegotiation=direct',
    'weak sslmode "prefer" may not be used with sslnegotiation=direct (use "require", "verify-ca", or "verify-full")',
  ],
  [
    'sslrootcert=system sslmode=require',
    'weak sslmode "require" may not be used with sslrootcert=system (use "verify-full")',
  ],
  ['ssl_min_protocol_version=SSLv3', 'invalid "ssl_min_protocol_version" value: "SSLv3"'],
  ['ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2', 'invalid SSL protocol version range'],
  ...['database', 'true', 'on', '1', 'x'].map(
    (value) =>
      [
        `replication=${value}`,
        'replication is not supported: such a session takes no statements as others do; use a pg.Client for it',
      ] as const,
  ),
  ['target_session_attrs=rw', 'invalid target_session_attrs value: "rw"'],
  ['load_balance_hosts=round-robin', 'invalid load_balance_hosts value: "round-robin"'],
  ['channel_binding=yes', 'invalid channel_binding value: "yes"'],
  ['channel_binding=require sslmode=disable', 'channel binding required, but SSL not in use'],
  ['require_auth=kerberos', 'invalid require_auth value: "kerberos"'],
  [
    'require_auth=md5,!none',
    'negative require_auth method "!none" cannot be mixed with non-negative methods',
  ],
  ['require_auth=!md5,none', 'require_auth method "none" cannot be mixed with negative methods'],
  ['require_auth=md5,md5', 'require_auth method "md5" is specified more than once'],
  // What Node or pg cannot do, where leaving it out would be weaker, or something else.
  ['require_auth=gss', 'require_auth value "gss" cannot be met: this client supports none of its methods'],
  [
    'require_auth=oauth,sspi',
    'require_auth value "oauth,sspi" cannot be met: this client supports none of its methods',
  ],
  ['gssencmode=require', 'gssencmode value "require" invalid when GSSAPI support is not compiled in'],
  ['requirepeer=postgres', 'requirepeer parameter is not supported on this platform'],
  ['scram_client_key=abc', 'scram_client_key is not supported; give a password'],
  ['min_protocol_version=3.2', 'min_protocol_version above 3.0 is not supported'],
  ['sslkey=engine:key', 'sslkey names an OpenSSL engine, which is not supported; give a file'],
  ['client_encoding=LATIN1', 'client_encoding "LATIN1" is not supported; only UTF8 is'],
] as const) {
  test(`refused before anything is opened: ${conninfo}`, () => {
    assert.equal(
      refusal(() => plan(conninfo)),
      message,
    )
  })
}

test('sslcertmode=require is refused', () => {
  assert.match(
    refusal(() => plan('sslcertmode=require')),
    /^sslcertmode value "require" is not supported/,
  )
})

test('what only tunes is taken without effect', () => {
  const tuned = [...keywords].filter(([, { effect }]) => effect === 'without effect').map(([name]) => name)
  for (const keyword of tuned) assert.ok(plan(`${keyword}=1`))
  assert.ok(plan('gssencmode=prefer client_encoding=utf-8 max_protocol_version=latest'))
})

test('the environment is below the service file, and that below the string', async () => {
  const PGSERVICEFILE = join(folder, 'services')
  await writeFile(PGSERVICEFILE, '[shop]\nhost=from-service\ndbname=from-service\n')
  const env = { PGSERVICEFILE, PGSERVICE: 'shop', PGHOST: 'from-env', PGPORT: '7', PGDATABASE: 'from-env' }
  const found = resolve('dbname=from-string', env)
  assert.deepEqual(found['dbname'], { value: 'from-string', source: 'string' })
  assert.deepEqual(found['host'], { value: 'from-service', source: 'service file', detail: PGSERVICEFILE })
  assert.deepEqual(found['port'], { value: '7', source: 'environment', detail: 'PGPORT' })
  assert.deepEqual(found['sslmode'], { value: 'prefer', source: 'default' })
  assert.deepEqual(resolve({ database: 'x' })['dbname'], {
    value: 'x',
    source: 'parameters',
    detail: 'database',
  })
})

test('the user is the system’s, and the database is named after the user', () => {
  const { username } = userInfo()
  const found = resolve('')
  assert.deepEqual(found['user'], { value: username, source: 'default' })
  assert.deepEqual(found['dbname'], { value: username, source: 'default', detail: 'user' })
  assert.equal(resolve('user=app')['dbname']?.value, 'app')
})

test('the default host is localhost, unless a server has its socket in one of the usual places', () => {
  const found = resolve('port=1')['host']
  assert.deepEqual(found, { value: 'localhost', source: 'default' })
  assert.deepEqual(plan('port=1').hosts, [{ host: 'localhost', port: 1 }])
})

test('hosts, addresses and ports are matched', () => {
  assert.deepEqual(plan('postgres://a,b:2,%2Ftmp:3/').hosts, [
    { host: 'a', port: 5432 },
    { host: 'b', port: 2 },
    { host: '/tmp', port: 3, socket: '/tmp/.s.PGSQL.3' },
  ])
  assert.deepEqual(plan('host=a,b hostaddr=127.0.0.1,::1 port=9').hosts, [
    { host: 'a', hostaddr: '127.0.0.1', port: 9 },
    { host: 'b', hostaddr: '::1', port: 9 },
  ])
  assert.deepEqual(plan('host=@name').hosts, [{ host: '@name', port: 5432, socket: '@name/.s.PGSQL.5432' }])
})

test('a service file is looked for where libpq looks', async () => {
  const HOME = join(folder, 'home')
  const PGSYSCONFDIR = join(folder, 'etc')
  await Promise.all([mkdir(HOME), mkdir(PGSYSCONFDIR)])
  await writeFile(join(HOME, '.pg_service.conf'), '# mine\n[one]\nport=1\n[both]\nport=2\n')
  await writeFile(join(PGSYSCONFDIR, 'pg_service.conf'), '[both]\nport=3\n[two]\nport=4\nport=5\n')
  const env = { HOME, PGSYSCONFDIR }
  assert.equal(resolve('service=one', env)['port']?.value, '1')
  assert.equal(resolve('service=both', env)['port']?.value, '2')
  assert.equal(resolve('service=two', env)['port']?.value, '4')
  assert.equal(
    refusal(() => resolve('service=three', env)),
    'definition of service "three" not found',
  )
  const missing = { ...env, PGSERVICEFILE: '/nonexistent' }
  assert.equal(
    refusal(() => resolve('service=one', missing)),
    'service file "/nonexistent" not found',
  )
})

test('a malformed service file is refused without quoting it', async () => {
  const PGSERVICEFILE = join(folder, 'malformed')
  const at = (line: number) => `in service file "${PGSERVICEFILE}", line ${line}`
  for (const [line, message] of [
    ['passwd=geheim', `syntax error ${at(2)}`],
    ['password geheim', `syntax error ${at(2)}`],
    ['service=geheim', `nested service specifications not supported ${at(2)}`],
    ['ldap://geheim', `LDAP is not supported ${at(2)}`],
    [`password=${'geheim'.repeat(200)}`, `line 2 too long in service file "${PGSERVICEFILE}"`],
  ] as const) {
    await writeFile(PGSERVICEFILE, `[s]\n${line}\n`)
    assert.equal(
      refusal(() => plan('service=s', { PGSERVICEFILE })),
      message,
    )
  }
  assert.match(
    refusal(() => plan('service=s', { PGSERVICEFILE: folder })),
    /could not read service file/,
  )
})

test('a password file gives the password of the first line that matches', async () => {
  const PGPASSFILE = join(folder, 'passwords')
  await writeFile(PGPASSFILE, '# c\na:1:d:u:first\na:*:*:*:sec\\:ond\n*:*:*:*:third\n', { mode: 0o600 })
  const password = (conninfo: string) => resolve(`${conninfo} dbname=d user=u`, { PGPASSFILE })['password']
  assert.deepEqual(password('host=a port=1'), { value: 'first', source: 'password file', detail: PGPASSFILE })
  assert.equal(password('host=a port=2')?.value, 'sec:ond')
  assert.equal(password('host=b port=2')?.value, 'third')
  assert.equal(password('host=b password=given')?.source, 'string')
  assert.equal(password("host=b password=''")?.source, 'password file')
})

test('a password file that others can read, or that is no file, is not used', async () => {
  const PGPASSFILE = join(folder, 'open')
  await writeFile(PGPASSFILE, '*:*:*:*:x\n')
  await chmod(PGPASSFILE, 0o640)
  const warnings: string[] = []
  const onWarning = ({ message }: Error) => void warnings.push(message)
  process.on('warning', onWarning)
  try {
    for (const file of [PGPASSFILE, PGPASSFILE, folder]) {
      assert.equal(resolve('host=a', { PGPASSFILE: file })['password'], undefined)
    }
    await new Promise((resolve) => setImmediate(resolve))
  } finally {
    process.off('warning', onWarning)
  }
  assert.deepEqual(warnings, [
    `password file "${PGPASSFILE}" has group or world access; permissions should be u=rw (0600) or less`,
    `password file "${folder}" is not a plain file`,
  ])
})

test("pg's own names mean what they mean to pg", () => {
  const made = plan({
    connectionString: 'postgres://u@h/d',
    port: 6000,
    keepAlive: false,
    keepAliveInitialDelayMillis: 1500,
    connectionTimeoutMillis: 250,
    statement_timeout: 1000,
    lock_timeout: false,
    idle_in_transaction_session_timeout: 3000,
    query_timeout: 4000,
    enableChannelBinding: false,
    application_name: 'a',
    ssl: false,
  })
  assert.deepEqual(made.hosts, [{ host: 'h', port: 6000 }])
  assert.equal(made.connectTimeoutMillis, 250)
  assert.deepEqual(made.keepAlive, { enabled: false, initialDelayMillis: 1500 })
  assert.equal(made.statementTimeoutMillis, 4000)
  assert.equal(made.channelBinding, 'disable')
  assert.equal(made.tls.mode, 'disable')
  assert.deepEqual(made.startup, {
    user: 'u',
    database: 'd',
    application_name: 'a',
    statement_timeout: '1000',
    idle_in_transaction_session_timeout: '3000',
  })
})

test('TCP keepalives begin after half a minute, unless the parameters say otherwise', () => {
  for (const [conninfo, enabled, initialDelayMillis] of [
    ['', true, 30_000],
    ['keepalives_idle=90', true, 90_000],
    ['keepalives_idle=0', true, 0],
    ['keepalives=0', false, 30_000],
    [{ keepAliveInitialDelayMillis: 0 }, true, 0],
    [{ keepAliveInitialDelayMillis: 45_000 }, true, 45_000],
  ] as const) {
    assert.deepEqual(plan(conninfo).keepAlive, { enabled, initialDelayMillis }, inspect(conninfo))
  }
})

test('replication may be switched off, which says nothing to the server', () => {
  for (const value of ['', 'off', 'false', 'no', '0', 'OFF']) {
    assert.deepEqual(Object.keys(plan({ user: 'u', replication: value }).startup), ['user', 'database'])
  }
})

test('what is undefined counts as left out', () => {
  const found = resolve({ host: undefined, database: undefined, password: undefined }, { PGHOST: 'h' })
  assert.equal(found['host']?.value, 'h')
})

for (const [parameters, message] of [
  [{ database: 'a', dbname: 'a' }, 'dbname and database give the same thing; give one of them'],
  [{ ssl: true, sslmode: 'require' }, 'ssl and sslmode give the same thing; give one of them'],
  [{ ssl: {}, sslrootcert: '/x' }, 'ssl and sslrootcert give the same thing; give one of them'],
  [{ keepAlive: true, keepalives: 1 }, 'keepalives and keepAlive give the same thing; give one of them'],
  [
    { connectionTimeoutMillis: 1, connect_timeout: 1 },
    'connect_timeout and connectionTimeoutMillis give the same thing; give one of them',
  ],
  [
    { keepAliveInitialDelayMillis: 1, keepalives_idle: 1 },
    'keepalives_idle and keepAliveInitialDelayMillis give the same thing; give one of them',
  ],
  [
    { enableChannelBinding: true, channel_binding: 'prefer' },
    'channel_binding and enableChannelBinding give the same thing; give one of them',
  ],
  [
    { connectionString: 'postgres://u:p@h/d', database: 'd' },
    'database and dbname in connectionString give the same thing; give one of them',
  ],
  [
    { connectionString: 'password=p', password: () => 'p' },
    'password and password in connectionString give the same thing; give one of them',
  ],
  [
    { connectionString: 'sslmode=require', ssl: {} },
    'ssl and sslmode in connectionString give the same thing; give one of them',
  ],
  ...(['max', 'min', 'poolSize', 'maxUses', 'Client', 'Promise'] as const).map(
    (name) =>
      [
        { [name]: 10 },
        `invalid connection option "${name}"; it is an option of a pool, and here is one connection: leave it out`,
      ] as const,
  ),
  [
    { maxLifetimeSeconds: 60 },
    'invalid connection option "maxLifetimeSeconds"; it is an option of a pool, and here is one connection: ' +
      'leave it out, or give maxLifetimeMillis in the second argument',
  ],
  [
    { log: console.log },
    'invalid connection option "log"; it is an option of a pool, and here is one connection: ' +
      'leave it out, and listen to the events',
  ],
  ...(['pipeline', 'autocommit', 'prepare', 'idleTimeoutMillis', 'allowExitOnIdle'] as const).map(
    (name) =>
      [
        { [name]: true },
        `invalid connection option "${name}"; it is an option of the manager: give it in the second argument`,
      ] as const,
  ),
  [{ username: 'u' }, 'invalid connection option "username"; did you mean "user"?'],
  [{ conectionString: 'x' }, 'invalid connection option "conectionString"; did you mean "connectionString"?'],
  [{ SSLMODE: 'require' }, 'invalid connection option "SSLMODE"; did you mean "sslmode"?'],
  [{ nonsense: 1 }, 'invalid connection option "nonsense"'],
  [{ 'hos t': 1 }, 'invalid connection option "***"'],
  [Object.create({ hots: 'h' }), 'invalid connection option "hots"; did you mean "host"?'],
  [
    Promise.resolve({ host: 'h' }),
    'the connection parameters are an object without any connection parameter in it',
  ],
  [new Date(), 'the connection parameters are an object without any connection parameter in it'],
  [{ host: 5 }, 'host must be a string'],
  [{ password: null }, 'password must be a string or a function'],
  [{ port: 1.5 }, 'port must be a string or a whole number'],
  [{ port: '1;' }, 'invalid integer value "***" for connection option "port"'],
  [{ ssl: 'true' }, 'ssl must be a boolean or an object of TLS options'],
  [{ keepAlive: 1 }, 'keepAlive must be a boolean'],
  [{ query_timeout: '5' }, 'query_timeout must be a whole number of milliseconds, 0 or more, or false'],
  [
    { connectionTimeoutMillis: -1 },
    'connectionTimeoutMillis must be a whole number of milliseconds, 0 or more',
  ],
  [{ stream: 5 }, 'stream must be a stream or a function'],
  [{ types: 5 }, 'types must be an object with getTypeParser'],
  [{ user: 'a\0b' }, 'user contains a zero byte'],
  [{ connectionString: 5 }, 'connectionString must be a string'],
  [[], 'the connection parameters must be a string or an object'],
  [null, 'the connection parameters must be a string or an object'],
  [5, 'the connection parameters must be a string or an object'],
] as const) {
  test(`refused: ${inspect(parameters, { breakLength: Infinity })}`, () => {
    // Sorted by their order in the object; the message names both, whichever comes first.
    const got = refusal(() => plan(parameters as unknown as ConnectionParameters))
    assert.equal(got, message)
  })
}

class Settings {
  readonly port = 5433
  readonly #user = 'reader'

  get host(): string {
    return 'db.example'
  }

  get user(): string {
    return this.#user
  }

  password(): string {
    return `the password of ${this.#user}`
  }

  describe(): string {
    return 'not a parameter'
  }
}

class OwnSettings extends Settings {
  get database(): string {
    return 'shop'
  }
}

for (const [what, given] of [
  ['the getters and methods of a class', new OwnSettings()],
  [
    'what is inherited',
    Object.create(Object.create({ host: 'db.example', port: 5433 }), {
      user: { value: 'reader', enumerable: true },
      database: { get: () => 'shop' },
      password: { value: () => 'the password of reader' },
    }),
  ],
  [
    'an object without a prototype',
    Object.assign(Object.create(null), {
      host: 'db.example',
      port: 5433,
      user: 'reader',
      database: 'shop',
      password: () => 'the password of reader',
    }),
  ],
] as const) {
  test(`parameters: ${what} count`, async () => {
    const parameters = given as ConnectionParameters
    const made = plan(parameters)
    assert.deepEqual(
      [made.hosts, made.user, made.database],
      [[{ host: 'db.example', port: 5433 }], 'reader', 'shop'],
    )
    const { password } = made
    assert.ok(password.kind === 'function')
    assert.equal(await password.get(), 'the password of reader')
    assert.equal(resolve(parameters)['host']?.value, 'db.example')
    const shown = String(new ManagedConnection(parameters))
    for (const part of ['host=db.example', 'port=5433', 'user=reader', 'dbname=shop', 'password=***'])
      assert.ok(shown.includes(part), shown)
  })
}

test('parameters: each is read once, when they are given', () => {
  let reads = 0
  const parameters = {
    get host() {
      reads++
      return 'db.example'
    },
  }
  String(new ManagedConnection(parameters))
  assert.equal(reads, 1)
  resolve(parameters)
  assert.equal(reads, 2)
})

test('parameters: what a program added to all objects is not among them', () => {
  Object.defineProperty(Object.prototype, 'host', {
    value: 'evil.example',
    configurable: true,
    enumerable: true,
  })
  try {
    assert.deepEqual(plan({ port: 1, hostaddr: '10.0.0.1' }).hosts, [
      { host: '', hostaddr: '10.0.0.1', port: 1 },
    ])
  } finally {
    delete (Object.prototype as { host?: string }).host
  }
})

test('parameters: the key that pg hid in an object of TLS options is found all the same', () => {
  const ssl = Object.defineProperty({ ca: 'c', key: 'k' }, 'key', { enumerable: false })
  assert.deepEqual(plan({ host: 'h', ssl }).tls.custom?.(), { ca: 'c', key: 'k' })
})

test('a URL is a connection string, and what is neither is refused', () => {
  assert.equal(
    String(new ManagedConnection(new URL('postgres://u:secret@h:5433/d?sslmode=disable'))),
    'postgres://u:***@h:5433/d?sslmode=disable',
  )
  assert.equal(resolve(new URL('postgres://u@h:5433/d'))['port']?.value, '5433')
  for (const odd of [[], ['host=h'], 5, null])
    assert.throws(() => new ManagedConnection(odd as never), ConninfoError)
})

for (const [conninfo, shown] of [
  [undefined, 'postgres://'],
  ['', ''],
  ['postgres:///postgres', 'postgres:///postgres'],
  ['postgres://u:secret@h:1,[::1]:2/d?sslmode=require', 'postgres://u:***@h:1,[::1]:2/d?sslmode=require'],
  ['postgres://u@h/d?password=secret&user=x', 'postgres://u@h/d?password=***&user=x'],
  ['postgres://u@h/d?application_name=a@b', 'postgres://u@h/d?application_name=a@b'],
  ['postgres://u:sec/ret@h/d', 'postgres://u:***@h/d'],
  ['postgres://u:sec@ret@h/d', 'postgres://u:***@h/d'],
  ['postgres://u:sec%ret@h/d', 'postgres://***'],
  ["host = h  password = 'se cret'  dbname=d", 'host = h  password = ***  dbname=d'],
  ['host=h passwrod=secret', 'host=h passwrod=***'],
  ['host=h password=se cret', 'host=h password=***'],
  ['host=h dbname=postgres://u:secret@h', 'host=h dbname=***'],
  ["password='secret", '***'],
  ['postgre://u:secret@h', '***'],
  [{ host: 'h', database: 'a b', password: 'secret', port: 1 }, "host=h dbname='a b' password=*** port=1"],
  [{ connectionString: 'postgres://u:secret@h/d' }, 'user=u password=*** host=h dbname=d'],
  [{ host: 'h', password: () => 'secret' }, 'host=h password=***'],
  [{ nonsense: 'secret' }, '***'],
] as const) {
  test(`shown: ${inspect(conninfo, { breakLength: Infinity })}`, () => {
    assert.equal(describeConninfo(conninfo as ConnectionParameters), shown)
  })
}

test('no password, nor half of one, is in a message, a description or an inspection', () => {
  const [one, two] = ['Xq7Z', 'r9Kw']
  const breaks = [
    '@',
    ':',
    '/',
    '?',
    '#',
    '&',
    '=',
    ' ',
    '%',
    '%zz',
    '%00',
    "'",
    '\\',
    ',',
    '[',
    ']',
    '%40',
    '',
    '\t',
    'é',
    '?x=',
    '/db?',
    '@h/',
    '://',
    "' ",
  ]
  const forms = [
    (p: string) => `postgres://u:${p}@h/db`,
    (p: string) => `postgres://u:${p}@a:1,[::1]/db?foo=1`,
    (p: string) => `postgres://h/db?user=u&password=${p}&port=1`,
    (p: string) => `postgres://u:${p}@h/db?password=${p}`,
    (p: string) => `postgres://u@h/db?sslpassword=${p}&sslmode=x`,
    (p: string) => `host=h password=${p} port=x`,
    (p: string) => `password='${p}' host=h`,
    (p: string) => `host=h oauth_client_secret=${p} foo=bar`,
    (p: string) => `passwrod=${p} host=h`,
    (p: string) => `postgre://u:${p}@h/db`,
    (p: string) => ` postgres://u:${p}@h/db`,
    (p: string) => `dbname=postgres://u:${p}@h/db`,
    (p: string) => `dbname='host=h password=${p}'`,
  ]
  for (const form of forms) {
    for (const first of breaks) {
      for (const second of ['', ...breaks]) {
        const conninfo = form(one + first + two + second)
        const said = [describeConninfo(conninfo)]
        for (const work of [parseConninfo, plan]) {
          try {
            work(conninfo)
          } catch (error) {
            assert.ok(error instanceof ConninfoError)
            said.push(inspect(error, { depth: 9 }).replaceAll(/\n\s+at .*/g, ''))
          }
        }
        for (const text of said) assert.ok(!text.includes(one) && !text.includes(two), `${conninfo}\n${text}`)
      }
    }
  }
})

test('an inspected plan shows no secret', () => {
  const made = plan({ host: 'h', password: 'geheim', sslpassword: 'geheim' })
  assert.ok(!inspect(made, { depth: 9, showHidden: true }).includes('geheim'))
  assert.ok(!JSON.stringify(made).includes('geheim'))
})

test('any string at all gives a result or a ConninfoError, and soon', (t) => {
  t.diagnostic(`SEED=${SEED}`)
  const random = seededRandom(SEED)
  const maker = new ConninfoMaker(random, keywords.keys())
  for (let round = 0; round < 3000; round++) {
    const noise = Array.from({ length: random() * 40 }, () =>
      String.fromCharCode(random() * 2 ** (4 + random() * 12)),
    )
    for (const conninfo of [maker.next(), noise.join(''), `postgres://${noise.join('')}`]) {
      assert.equal(typeof describeConninfo(conninfo), 'string')
      try {
        plan(conninfo)
      } catch (error) {
        assert.ok(error instanceof ConninfoError, `${JSON.stringify(conninfo)}: ${inspect(error)}`)
      }
    }
  }
})

test('a string of 300,000 characters is read in no time', () => {
  const long = 300_000
  for (const piece of [
    '\\',
    "'",
    'a',
    ' ',
    '=',
    '&',
    '?',
    ',',
    ':',
    '[',
    '@',
    '%',
    '%41',
    '\\a',
    'a=b ',
    'a\\ ',
    '   x',
  ]) {
    for (const start of ['', 'host=', "host='", 'postgres://', 'postgres://h?user=', 'postgres://u:']) {
      const conninfo = start + piece.repeat(long / piece.length)
      const started = performance.now()
      describeConninfo(conninfo)
      try {
        plan(conninfo)
      } catch (error) {
        assert.ok(error instanceof ConninfoError, inspect(error))
      }
      const took = performance.now() - started
      assert.ok(took < 5000, `${JSON.stringify(start + piece)}… took ${took} ms`)
    }
  }
})
