import type { ConnectionOptions } from 'node:tls'
import { ConninfoError } from '../errors.js'
import { readMembers } from '../util/members.js'
import { parseChoice } from './check-value.js'
import { userFiles } from './local-defaults.js'
import { quoteValue } from './quote.js'
import { Secret } from './secret.js'

/** How much encryption is wanted: libpq's `sslmode`. */
export const SSL_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const

/** How much encryption is wanted. */
export type SslMode = (typeof SSL_MODES)[number]

const TLS_VERSIONS = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const

/** A version of TLS, as libpq and Node name it. */
export type TlsVersion = (typeof TLS_VERSIONS)[number]

/** A file that a parameter names, or that libpq reads by default when it is there. */
export interface FileChoice {
  readonly file: string
  /** True when the user named it, so that it must exist. */
  readonly given: boolean
}

/** The TLS settings of a connection; files are read at each attempt, since they may be renewed. */
export interface TlsPlan {
  readonly mode: SslMode
  readonly negotiation: 'postgres' | 'direct'
  /** Options for `tls.connect` that the user gave as pg's `ssl`, instead of all that follows. */
  readonly custom?: () => ConnectionOptions
  /** The trusted authorities: `'system'`, or a file of certificates. */
  readonly rootCertificate: 'system' | FileChoice
  readonly revocationList: FileChoice
  /** A directory of revocation lists; empty for none. */
  readonly revocationDirectory: string
  /** The client's certificate; null when it must not be sent. */
  readonly certificate: FileChoice | null
  readonly key: FileChoice
  readonly keyPassword?: Secret
  /** Whether the host's name is sent in clear before the handshake (SNI). */
  readonly sendName: boolean
  readonly minVersion?: TlsVersion
  readonly maxVersion?: TlsVersion
  /** A file that the session's keys are appended to, for debugging. */
  readonly keyLogFile?: string
}

type Values = ReadonlyMap<string, { readonly value: string }>

/**
 * Reads the parameters that concern TLS.
 *
 * @see PostgreSQL manual, "SSL Support" (libpq)
 * @throws ConninfoError for a wrong value, and for what Node cannot do
 */
export function planTls(
  values: Values,
  ssl: boolean | ConnectionOptions | undefined,
  env: NodeJS.ProcessEnv,
): TlsPlan {
  const text = (keyword: string) => values.get(keyword)?.value ?? ''
  const defaults = userFiles(env)
  const file = (keyword: string, fallback: string): FileChoice =>
    text(keyword) === '' ? { file: fallback, given: false } : { file: text(keyword), given: true }
  const mode = planMode(values, ssl)
  const root = text('sslrootcert')
  if (/^[a-z0-9]+:/i.test(text('sslkey')) && !/^[a-z]:[\\/]/i.test(text('sslkey'))) {
    throw new ConninfoError('sslkey names an OpenSSL engine, which is not supported; give a file')
  }
  const minVersion = planVersion('ssl_min_protocol_version', text('ssl_min_protocol_version'))
  const maxVersion = planVersion('ssl_max_protocol_version', text('ssl_max_protocol_version'))
  if (minVersion && maxVersion && minVersion > maxVersion) {
    throw new ConninfoError('invalid SSL protocol version range')
  }
  return {
    mode,
    negotiation: planNegotiation(text('sslnegotiation'), mode),
    ...(ssl ? { custom: () => (ssl === true ? {} : readTlsObject(ssl)) } : {}),
    rootCertificate: root === 'system' ? root : file('sslrootcert', defaults.rootCertificate),
    revocationList: file('sslcrl', defaults.revocationList),
    revocationDirectory: text('sslcrldir'),
    certificate: planCertificateMode(values) === 'disable' ? null : file('sslcert', defaults.certificate),
    key: file('sslkey', defaults.key),
    ...(text('sslpassword') === '' ? {} : { keyPassword: new Secret(text('sslpassword')) }),
    sendName: text('sslsni').startsWith('1'),
    ...(minVersion ? { minVersion } : {}),
    ...(maxVersion ? { maxVersion } : {}),
    ...(text('sslkeylogfile') === '' ? {} : { keyLogFile: text('sslkeylogfile') }),
  }
}

/** pg hides the key in the object that it is given, and the same object may have been given to pg before. */
function readTlsObject(ssl: ConnectionOptions): ConnectionOptions {
  return Object.fromEntries(readMembers(ssl, (name) => name === 'key'))
}

function planMode(values: Values, ssl: boolean | ConnectionOptions | undefined): SslMode {
  if (ssl !== undefined) return ssl === false ? 'disable' : 'verify-full'
  const mode = parseChoice('sslmode', values.get('sslmode')!.value, SSL_MODES)
  if (values.get('sslrootcert')?.value === 'system' && mode !== 'verify-full') {
    throw new ConninfoError(
      `weak sslmode "${mode}" may not be used with sslrootcert=system (use "verify-full")`,
    )
  }
  return mode
}

function planNegotiation(text: string, mode: SslMode): 'postgres' | 'direct' {
  const negotiation = parseChoice('sslnegotiation', text, ['postgres', 'direct'])
  if (negotiation === 'direct' && SSL_MODES.indexOf(mode) < SSL_MODES.indexOf('require')) {
    throw new ConninfoError(
      `weak sslmode "${mode}" may not be used with sslnegotiation=direct ` +
        '(use "require", "verify-ca", or "verify-full")',
    )
  }
  return negotiation
}

function planCertificateMode(values: Values): 'disable' | 'allow' {
  const mode = parseChoice('sslcertmode', values.get('sslcertmode')!.value, ['disable', 'allow', 'require'])
  if (mode === 'require') {
    throw new ConninfoError(
      'sslcertmode value "require" is not supported: Node does not tell whether the server asked for a certificate',
    )
  }
  return mode
}

function planVersion(keyword: string, text: string): TlsVersion | undefined {
  if (text === '') return undefined
  const version = TLS_VERSIONS.find((candidate) => candidate.toLowerCase() === text.toLowerCase())
  if (version === undefined) throw new ConninfoError(`invalid "${keyword}" value: "${quoteValue(text)}"`)
  return version
}
