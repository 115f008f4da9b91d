import type { ConnectionOptions } from 'node:tls'
import { ConninfoError } from '../errors.js'
import { readMembers } from '../util/members.js'
import { userFiles } from './local-files.js'
import type { PgParameters } from './parameters.js'
import { parseChoice, textOf, type Values } from './resolve.js'
import { quoteValue, Secret } from './secret.js'

/** How much encryption is wanted: libpq's `sslmode`, the least first. */
const SSL_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const
type SslMode = (typeof SSL_MODES)[number]

/** The versions of TLS, as libpq and Node name them. */
const TLS_VERSIONS = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const

/** A file that a parameter names, or that libpq reads by default when it is there. */
export interface FileChoice {
  readonly file: string
  /** True when the user named it, so that it must exist. */
  readonly given: boolean
}

/** The TLS settings of a connection; files are read at each attempt, since they may be renewed. */
export type TlsPlan = Readonly<ReturnType<typeof planTls>>

/**
 * Reads the parameters that concern TLS.
 *
 * @param ssl pg's parameter of that name
 * @see PostgreSQL manual, "SSL Support" (libpq)
 * @throws ConninfoError for a wrong value, and for what Node cannot do
 */
export function planTls(values: Values, ssl: PgParameters['ssl'], env: NodeJS.ProcessEnv) {
  const text = (keyword: string) => textOf(values, keyword)
  const defaults = userFiles(env)
  const file = (keyword: string, fallback: string): FileChoice =>
    text(keyword) === '' ? { file: fallback, given: false } : { file: text(keyword), given: true }
  const mode = planMode(values, ssl)
  if (/^[a-z0-9]+:/i.test(text('sslkey')) && !/^[a-z]:[\\/]/i.test(text('sslkey'))) {
    throw new ConninfoError('sslkey names an OpenSSL engine, which is not supported; give a file')
  }
  return {
    mode,
    ...planVersions(values),
    negotiation: planNegotiation(text('sslnegotiation'), mode),
    /** Options for `tls.connect` that the user gave as pg's `ssl`, instead of all that follows. */
    custom: ssl ? () => (ssl === true ? {} : readTlsObject(ssl)) : undefined,
    /** The trusted authorities: `'system'`, or a file of certificates. */
    rootCertificate:
      text('sslrootcert') === 'system' ? ('system' as const) : file('sslrootcert', defaults.rootCertificate),
    revocationList: file('sslcrl', defaults.revocationList),
    /** A directory of revocation lists; empty for none. */
    revocationDirectory: text('sslcrldir'),
    /** The client's certificate; null when it must not be sent. */
    certificate: sendsCertificate(text('sslcertmode')) ? file('sslcert', defaults.certificate) : null,
    key: file('sslkey', defaults.key),
    keyPassword: text('sslpassword') === '' ? undefined : new Secret(text('sslpassword')),
    /** Whether the host's name is sent in clear before the handshake (SNI). */
    sendName: text('sslsni').startsWith('1'),
    /** A file that the session's keys are appended to, for debugging; empty for none. */
    keyLogFile: text('sslkeylogfile'),
  }
}

/** pg hides the key in the object that it is given, and the same object may have been given to pg before. */
function readTlsObject(ssl: ConnectionOptions): ConnectionOptions {
  return Object.fromEntries(readMembers(ssl, (name) => name === 'key'))
}

function planMode(values: Values, ssl: PgParameters['ssl']): SslMode {
  if (ssl !== undefined) return ssl === false ? 'disable' : 'verify-full'
  const mode = parseChoice('sslmode', textOf(values, 'sslmode'), SSL_MODES)
  if (textOf(values, 'sslrootcert') !== 'system' || mode === 'verify-full') return mode
  throw new ConninfoError(
    `weak sslmode "${mode}" may not be used with sslrootcert=system (use "verify-full")`,
  )
}

function planNegotiation(text: string, mode: SslMode): 'postgres' | 'direct' {
  const negotiation = parseChoice('sslnegotiation', text, ['postgres', 'direct'])
  if (negotiation === 'postgres' || SSL_MODES.indexOf(mode) >= SSL_MODES.indexOf('require'))
    return negotiation
  throw new ConninfoError(
    `weak sslmode "${mode}" may not be used with sslnegotiation=direct ` +
      '(use "require", "verify-ca", or "verify-full")',
  )
}

function sendsCertificate(text: string): boolean {
  const mode = parseChoice('sslcertmode', text, ['disable', 'allow', 'require'])
  if (mode !== 'require') return mode === 'allow'
  throw new ConninfoError(
    'sslcertmode value "require" is not supported: Node does not tell whether the server asked for a certificate',
  )
}

function planVersions(values: Values) {
  const minVersion = planVersion(values, 'ssl_min_protocol_version')
  const maxVersion = planVersion(values, 'ssl_max_protocol_version')
  if (!minVersion || !maxVersion || minVersion <= maxVersion) return { minVersion, maxVersion }
  throw new ConninfoError('invalid SSL protocol version range')
}

function planVersion(values: Values, keyword: string): (typeof TLS_VERSIONS)[number] | undefined {
  const text = textOf(values, keyword)
  const version = TLS_VERSIONS.find((candidate) => candidate.toLowerCase() === text.toLowerCase())
  if (version !== undefined || text === '') return version
  throw new ConninfoError(`invalid "${keyword}" value: "${quoteValue(text)}"`)
}
