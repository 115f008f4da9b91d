import { localUser } from '../../conninfo/local-files.js'
import { isFailure, on, originOf, when, type FailedAttempt, type Rules } from './rule.js'

const code = (pattern: RegExp) => on('refused', { code: pattern })
const unauthorized = (signs: { reason?: RegExp; routine?: RegExp }) =>
  on('refused', { code: /^28000$/, ...signs })

/** Where the server finds that the role is missing, or may not log in: before anything is asked of the client. */
const ABOUT_ROLE = /^InitializeSessionUserId$/
const ABOUT_DATABASE = /^CheckMyDatabase/

const user = ({ plan }: FailedAttempt) => plan.user
const database = ({ plan }: FailedAttempt) => plan.database
/** The names as SQL wants them. */
const userInSql = ({ plan }: FailedAttempt) => quote(plan.user)
const databaseInSql = ({ plan }: FailedAttempt) => quote(plan.database)

/** What the server refuses for reasons that it says clearly. */
export const refusalRules: Rules = {
  'wrong-password': code(/^28P01$/)`
    The password (from: ${describePassword}) is not that of "${user}"; or the role does not exist, has no
    password, or its password has expired: the server tells its log, not its clients. Set a new one with:
    ALTER ROLE ${userInSql} PASSWORD '…'`,
  'role-may-not-log-in': unauthorized({ routine: ABOUT_ROLE, reason: /not permitted/ })`
    "${user}" is a role for granting rights. Let it log in with: ALTER ROLE ${userInSql} LOGIN`,
  'role-missing': unauthorized({ routine: ABOUT_ROLE })`
    The server has no role "${user}" (user, from: ${originOf('user')}). Give another user, or make it with:
    CREATE ROLE ${userInSql} LOGIN PASSWORD '…'`,
  'database-missing': code(/^3D000$/)`
    The server has no database "${database}" (dbname, from: ${originOf('dbname')}). Give another dbname, or
    make it with: CREATE DATABASE ${databaseInSql}`,
  'too-many-connections': code(/^53300$/)`
    All connections that the server, the database or the role may have are in use. See who has them in
    pg_stat_activity, close what is idle, share connections (this library, a pooler), or raise max_connections
    or the CONNECTION LIMIT.`,
  'shutting-down': when(
    (failed) =>
      isFailure('refused', { code: /^57P0[12]$/ })(failed) ||
      isFailure('refused', { code: /^57P03$/, reason: /shutting/ })(failed),
  )`
    The server is shutting down or restarting. Try again in a moment.`,
  'starting-up': code(/^57P03$/)`
    The server is not ready yet: it is starting, or recovering after a crash. Try again in a moment; if it
    stays like this, its log says how far it is. A standby that never lets anybody in may have hot_standby =
    off.`,
  'database-closed': on('refused', { code: /^55000$/, routine: ABOUT_DATABASE })`
    Nobody may connect to "${database}". Open it with: ALTER DATABASE ${databaseInSql} ALLOW_CONNECTIONS true`,
  'no-connect-privilege': on('refused', { code: /^42501$/, routine: ABOUT_DATABASE })`
    "${user}" may not connect to this database. Allow it with: GRANT CONNECT ON DATABASE ${databaseInSql} TO
    ${userInSql}`,
  'bad-setting': code(/^(?:42704|22023|42501|55P02)$/)`
    A setting that the session should begin with is not accepted. It comes from options (from:
    ${originOf('options')}), PGOPTIONS, PGTZ, PGDATESTYLE or PGGEQO.`,
  'refused-by-pooler': code(/^08P01$/)`
    This is probably a pooler such as PgBouncer: check that it knows the database and the user, and let it
    pass what it does not know with ignore_startup_parameters.`,
}

/** What the server refuses because of pg_hba.conf; less certain, since encryption may have failed before. */
export const accessRules: Rules = {
  'pg-hba-reject': unauthorized({ reason: /pg_hba\.conf rejects/ })`
    A line of the server’s pg_hba.conf says "reject" for this user, database, address and encryption. Remove
    it, or put one that allows the login above it, and reload with: SELECT pg_reload_conf()`,
  'no-pg-hba-entry': unauthorized({ reason: /pg_hba\.conf/ })`
    No line of the server's pg_hba.conf lets this user in from here${describeEncryption}. Add one, such
    as${describeLine}and reload with: SELECT pg_reload_conf()`,
  'client-certificate': unauthorized({ routine: /^ClientAuthentication$/ })`
    The server wants a certificate of the client’s. Give one with sslcert and sslkey; by default it is
    ~/.postgresql/postgresql.crt with postgresql.key. It must be signed by an authority in the server’s
    ssl_ca_file.`,
  'login-refused': code(/^28/)`
    The line of pg_hba.conf that applies asks for something else than a password (peer, ident, a certificate,
    LDAP…), and it was not met. With peer, the operating system's user (here "${localName}") must have the
    role's name ("${user}") or be mapped to it in pg_ident.conf; by TCP with host=localhost another line
    applies.`,
  refused: on('refused')`
    The server refused the session with SQLSTATE ${({ error }) => error.code ?? 'unknown'}; its log may say
    more. The manual's appendix "PostgreSQL Error Codes" explains the code.`,
}

function describePassword(failed: FailedAttempt): string {
  const { password } = failed.plan
  return password.kind === 'file' ? `password file ${password.file}` : originOf('password')(failed)
}

/** With both tried, encryption is not the point. */
function describeEncryption({ error, plan, socket }: FailedAttempt): string {
  if (socket !== null || error.reason.includes('(with SSL)')) return ''
  return error.encryption === 'tls'
    ? ' with encryption (there may be a "hostnossl" line: sslmode=disable uses it)'
    : ` without encryption (there may be a "hostssl" line: sslmode=require uses it; now it is ${plan.tls.mode})`
}

/** A line that would let the user in, on a line of its own; the address is the one that the server sees. */
function describeLine({ error, plan, socket }: FailedAttempt): string {
  const address = /host "([0-9A-Fa-f.:]+)"/.exec(error.reason)?.[1]
  const range = address === undefined ? 'ADDRESS' : `${address}/${address.includes(':') ? 128 : 32}`
  const type = socket !== null ? 'local' : error.encryption === 'tls' ? 'hostssl' : 'host'
  const from = socket !== null ? '' : ` ${range}`
  return `\n    ${type} ${word(plan.database)} ${word(plan.user)}${from} scram-sha-256\n`
}

/** A name as pg_hba.conf wants it. */
function word(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name}"`
}

function quote(name: string): string {
  return `"${name.replace(/"/g, '""')}"`
}

function localName(): string {
  try {
    return localUser()
  } catch {
    return '?'
  }
}
