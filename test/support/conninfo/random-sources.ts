import type { Random } from './random-conninfo.js'

/** Where parameters may come from, all at once. */
export interface Sources {
  readonly conninfo: string
  readonly env: NodeJS.ProcessEnv
  /** The content of the service file. */
  readonly services: string
}

/**
 * Values that lead nowhere, so that libpq answers at once: each keyword's, the ones that it refuses last. Where we
 * refuse more than libpq does, only what both accept is here.
 */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  user: ['app', '', 'ü'],
  password: ['secret', ''],
  dbname: ['shop', ''],
  host: ['/nonexistent', '127.0.0.1', '', '127.0.0.1,/nonexistent', ',', '127.0.0.1,127.0.0.1,127.0.0.1'],
  hostaddr: ['127.0.0.1', '', '127.0.0.1,127.0.0.1', '::1', 'x'],
  port: ['1', '', '2,3', '1,', ' 2', '3 ', '+1', '0', '65536', 'x', '1x', '-1', '99999999999', '1,2,3'],
  connect_timeout: ['1', '0', '-1', ' 2 '],
  options: ['-c geqo=off', ''],
  application_name: ['a', ''],
  fallback_application_name: ['f'],
  client_encoding: ['UTF8', ''],
  keepalives: ['0', '1'],
  keepalives_idle: ['30'],
  keepalives_interval: ['3'],
  tcp_user_timeout: ['5'],
  sslmode: ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full', '', 'no', 'PREFER'],
  sslnegotiation: ['postgres', 'direct', '', 'x'],
  sslrootcert: ['system', '/nonexistent', ''],
  sslcertmode: ['allow', 'disable', '', 'x'],
  sslsni: ['0', '1', ''],
  sslcompression: ['1'],
  ssl_min_protocol_version: ['TLSv1.2', 'tlsv1.3', '', 'TLSv1', 'x'],
  ssl_max_protocol_version: ['TLSv1.2', 'TLSV1.3', '', 'x'],
  min_protocol_version: ['3.0', '', 'x'],
  max_protocol_version: ['3.0', '3.2', 'latest', '', 'x'],
  channel_binding: ['disable', 'prefer', '', 'x'],
  require_auth: [
    '',
    'scram-sha-256',
    '!md5',
    'md5,scram-sha-256',
    '!md5,!password',
    'md5,md5',
    'md5,!md5',
    '!md5,md5',
    'x',
    ',',
  ],
  gssencmode: ['disable', 'prefer', 'require', '', 'x'],
  target_session_attrs: ['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby', '', 'x'],
  load_balance_hosts: ['disable', 'random', '', 'x'],
  replication: ['database'],
  krbsrvname: ['p'],
}

const VARIABLES: Readonly<Record<string, string>> = {
  PGUSER: 'user', PGPASSWORD: 'password', PGDATABASE: 'dbname', PGHOST: 'host', PGHOSTADDR: 'hostaddr', PGPORT: 'port',
  PGCONNECT_TIMEOUT: 'connect_timeout', PGOPTIONS: 'options', PGAPPNAME: 'application_name', PGSSLMODE: 'sslmode',
  PGCLIENTENCODING: 'client_encoding', PGSSLNEGOTIATION: 'sslnegotiation', PGSSLROOTCERT: 'sslrootcert',
  PGSSLCERTMODE: 'sslcertmode', PGSSLSNI: 'sslsni', PGSSLMINPROTOCOLVERSION: 'ssl_min_protocol_version',
  PGSSLMAXPROTOCOLVERSION: 'ssl_max_protocol_version', PGCHANNELBINDING: 'channel_binding',
  PGREQUIREAUTH: 'require_auth', PGGSSENCMODE: 'gssencmode', PGTARGETSESSIONATTRS: 'target_session_attrs',
  PGLOADBALANCEHOSTS: 'load_balance_hosts', PGMINPROTOCOLVERSION: 'min_protocol_version', PGSSLCOMPRESSION: 'sslcompression',
  PGMAXPROTOCOLVERSION: 'max_protocol_version', PGKRBSRVNAME: 'krbsrvname',
} // prettier-ignore

/** A string, an environment and a service file at random. */
export function randomSources(random: Random, serviceFile: string): Sources {
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!
  // The values that are refused stand last, and are chosen less often.
  const value = (keyword: string): string =>
    VALUES[keyword]![Math.floor(random() ** 2 * VALUES[keyword]!.length)]!
  const several = <T>(most: number, make: () => T): T[] =>
    Array.from({ length: Math.floor(random() * (most + 1)) }, make)

  const pairs = several(3, () => pick(Object.keys(VALUES))).map((name) => `${name}='${value(name)}'`)
  const env: NodeJS.ProcessEnv = { HOME: '/nonexistent', PGSERVICEFILE: serviceFile }
  for (const name of several(3, () => pick(Object.keys(VARIABLES)))) env[name] = value(VARIABLES[name]!)
  if (random() < 0.1) env['PGREQUIRESSL'] = pick(['1', '0', '10', ''])
  const service = pick(['one', 'one', 'two', 'missing', 'o'])
  const place = random()
  if (place < 0.3) pairs.push(`service=${service}`)
  else if (place < 0.5) env['PGSERVICE'] = service
  const lines = () =>
    several(3, () => pick(Object.keys(VALUES))).map(
      (name) => `${pick(['', '', '  '])}${name}=${value(name)}${pick(['', ' ', '\r'])}`,
    )
  const oddity = () =>
    random() < 0.15
      ? [pick(['foo=x', 'host', 'host =x', 'service=one', '# x', '', '   ', '[one', '=', ' [two]'])]
      : []
  const services = [
    '# services',
    '[other]',
    ...lines(),
    '[one]',
    ...lines(),
    ...oddity(),
    '[two] rest',
    ...lines(),
    '[one]',
    ...lines(),
  ]
  return { conninfo: pairs.join(' '), env, services: services.join('\n') }
}

/** A login and a password file at random. */
export function randomLogin(random: Random): { readonly conninfo: string; readonly passwords: string } {
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!
  const line = () => {
    const host = pick([
      '127.0.0.1',
      '127.0.0.1',
      '*',
      '*',
      '*',
      'localhost',
      '/nonexistent',
      '',
      '**',
      '\\127.0.0.1',
      ' *',
    ])
    const port = pick(['1', '*', '*', '2', '\\1', ''])
    const database = pick(['*', '*', 'shop', 'sh\\:op', 'sh\\\\op', ''])
    const user = pick(['*', '*', 'app', 'a\\*', '*x'])
    const password = pick(['one', 't\\:wo', 'th\\\\ree', 'four:five', 'six\\', '', ' seven ', 'ü', '*'])
    const end = pick(['', '', '', '\r', '#'])
    return pick(['', '', '', '', '#', ' ']) + [host, port, database, user, password].join(':') + end
  }
  const lines = Array.from({ length: Math.floor(random() * 12) }, () =>
    random() < 0.1 ? pick(['', '# comment', 'x', '*:*:*:*', ':::::', '*:*:*:*:', '\\']) : line(),
  )
  const name = (keyword: string, values: readonly string[]) => `${keyword}='${pick(values)}'`
  const host = pick(["host='127.0.0.1'", "host=''", "host='/nonexistent'", "hostaddr='127.0.0.1'"])
  const login = [
    name('port', ['1', '2']),
    name('dbname', ['shop', 'sh:op', 'sh\\\\op']),
    name('user', ['app', 'a*']),
  ]
  return { conninfo: [host, ...login].join(' '), passwords: lines.join('\n') + pick(['', '\n']) }
}
