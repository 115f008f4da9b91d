/**
 * The connection parameters that libpq of PostgreSQL 18 knows, and what becomes of each here.
 *
 * @see PostgreSQL manual, "Parameter Key Words" and "Environment Variables" (libpq)
 */

/**
 * What becomes of a parameter:
 * - `'honoured'`: it does what the manual says.
 * - `'partly'`: the values that Node can serve are honoured; the others are refused.
 * - `'refused'`: it is an error to give it, because leaving it out in silence would weaken what was asked for.
 * - `'without effect'`: it is checked, and otherwise only tunes what Node has no handle for.
 */
export type KeywordEffect = 'honoured' | 'partly' | 'refused' | 'without effect'

export interface Keyword {
  readonly effect: KeywordEffect
  /** The environment variable that stands in when the parameter is not given. */
  readonly env?: string
  /** What libpq is compiled with when nothing else gives a value. */
  readonly fallback?: string
  /** Never shown: not in a message, not in a description. */
  readonly secret?: true
  /** An object may give it as a number; `'checked'`: it must be a whole number in a string, too. */
  readonly number?: 'checked' | 'accepted'
}

const table = {
  service: { effect: 'honoured', env: 'PGSERVICE' },
  user: { effect: 'honoured', env: 'PGUSER' },
  password: { effect: 'honoured', env: 'PGPASSWORD', secret: true },
  passfile: { effect: 'honoured', env: 'PGPASSFILE' },
  channel_binding: { effect: 'honoured', env: 'PGCHANNELBINDING', fallback: 'prefer' },
  connect_timeout: { effect: 'honoured', env: 'PGCONNECT_TIMEOUT', number: 'checked' },
  dbname: { effect: 'honoured', env: 'PGDATABASE' },
  host: { effect: 'honoured', env: 'PGHOST' },
  hostaddr: { effect: 'honoured', env: 'PGHOSTADDR' },
  port: { effect: 'honoured', env: 'PGPORT', fallback: '5432', number: 'accepted' },
  client_encoding: { effect: 'partly', env: 'PGCLIENTENCODING' },
  options: { effect: 'honoured', env: 'PGOPTIONS', fallback: '' },
  application_name: { effect: 'honoured', env: 'PGAPPNAME' },
  fallback_application_name: { effect: 'honoured' },
  keepalives: { effect: 'honoured', number: 'checked' },
  keepalives_idle: { effect: 'honoured', number: 'checked' },
  keepalives_interval: { effect: 'without effect', number: 'checked' },
  keepalives_count: { effect: 'without effect', number: 'checked' },
  tcp_user_timeout: { effect: 'without effect', number: 'checked' },
  sslmode: { effect: 'honoured', env: 'PGSSLMODE', fallback: 'prefer' },
  sslnegotiation: { effect: 'honoured', env: 'PGSSLNEGOTIATION', fallback: 'postgres' },
  sslcompression: { effect: 'without effect', env: 'PGSSLCOMPRESSION', fallback: '0', number: 'accepted' },
  sslcert: { effect: 'honoured', env: 'PGSSLCERT' },
  sslkey: { effect: 'partly', env: 'PGSSLKEY' },
  sslcertmode: { effect: 'partly', env: 'PGSSLCERTMODE', fallback: 'allow' },
  sslpassword: { effect: 'honoured', secret: true },
  sslrootcert: { effect: 'honoured', env: 'PGSSLROOTCERT' },
  sslcrl: { effect: 'honoured', env: 'PGSSLCRL' },
  sslcrldir: { effect: 'honoured', env: 'PGSSLCRLDIR' },
  sslsni: { effect: 'honoured', env: 'PGSSLSNI', fallback: '1', number: 'accepted' },
  requirepeer: { effect: 'refused', env: 'PGREQUIREPEER' },
  require_auth: { effect: 'partly', env: 'PGREQUIREAUTH' },
  min_protocol_version: { effect: 'partly', env: 'PGMINPROTOCOLVERSION' },
  max_protocol_version: { effect: 'honoured', env: 'PGMAXPROTOCOLVERSION' },
  ssl_min_protocol_version: { effect: 'honoured', env: 'PGSSLMINPROTOCOLVERSION', fallback: 'TLSv1.2' },
  ssl_max_protocol_version: { effect: 'honoured', env: 'PGSSLMAXPROTOCOLVERSION' },
  gssencmode: { effect: 'partly', env: 'PGGSSENCMODE', fallback: 'disable' },
  krbsrvname: { effect: 'without effect', env: 'PGKRBSRVNAME', fallback: 'postgres' },
  gsslib: { effect: 'without effect', env: 'PGGSSLIB' },
  gssdelegation: { effect: 'without effect', env: 'PGGSSDELEGATION', fallback: '0', number: 'accepted' },
  replication: { effect: 'partly' },
  target_session_attrs: { effect: 'honoured', env: 'PGTARGETSESSIONATTRS', fallback: 'any' },
  load_balance_hosts: { effect: 'honoured', env: 'PGLOADBALANCEHOSTS', fallback: 'disable' },
  scram_client_key: { effect: 'refused', secret: true },
  scram_server_key: { effect: 'refused', secret: true },
  oauth_issuer: { effect: 'without effect' },
  oauth_client_id: { effect: 'without effect' },
  oauth_client_secret: { effect: 'without effect', secret: true },
  oauth_scope: { effect: 'without effect' },
  sslkeylogfile: { effect: 'honoured' },
} as const satisfies Record<string, Keyword>

type Table = typeof table

export type KeywordName = keyof Table

export type NumericKeyword = {
  [K in KeywordName]: Table[K] extends { number: string } ? K : never
}[KeywordName]

/** The table of connection parameters, in libpq's order. */
export const keywords: ReadonlyMap<string, Keyword> = new Map(Object.entries(table))

export function isKeyword(name: string): name is KeywordName {
  return keywords.has(name)
}
