import { userInfo } from 'node:os'
import { isFailure, originOf, type FailedAttempt, type Rules } from './rule.js'

const code = (pattern: RegExp) => isFailure('refused', { code: pattern })
const unauthorized = (signs: { reason?: RegExp; routine?: RegExp }) =>
  isFailure('refused', { code: /^28000$/, ...signs })

/** Where the server finds that the role is missing, or may not log in: before anything is asked of the client. */
const ABOUT_ROLE = /^InitializeSessionUserId$/

/** What the server refuses for reasons that it says clearly. */
export const refusalRules: Rules = {
  'wrong-password': [
    code(/^28P01$/),
    (failed) =>
      `The password (from: ${describePassword(failed)}) is not that of "${failed.plan.user}"; or the role does not ` +
      'exist, has no password, or its password has expired: the server tells its log, not its clients. Set a ' +
      `new one with: ALTER ROLE ${quote(failed.plan.user)} PASSWORD '…'`,
  ],
  'role-may-not-log-in': [
    unauthorized({ routine: ABOUT_ROLE, reason: /not permitted/ }),
    ({ plan }) =>
      `"${plan.user}" is a role for granting rights. Let it log in with: ALTER ROLE ${quote(plan.user)} LOGIN`,
  ],
  'role-missing': [
    unauthorized({ routine: ABOUT_ROLE }),
    (failed) =>
      `The server has no role "${failed.plan.user}" (user, from: ${originOf(failed, 'user')}). Give another user, ` +
      `or make it with: CREATE ROLE ${quote(failed.plan.user)} LOGIN PASSWORD '…'`,
  ],
  'database-missing': [
    code(/^3D000$/),
    (failed) =>
      `The server has no database "${failed.plan.database}" (dbname, from: ${originOf(failed, 'dbname')}). Give ` +
      `another dbname, or make it with: CREATE DATABASE ${quote(failed.plan.database)}`,
  ],
  'too-many-connections': [
    code(/^53300$/),
    'All connections that the server, the database or the role may have are in use. See who has them in ' +
      'pg_stat_activity, close what is idle, share connections (this library, a pooler), or raise max_connections ' +
      'or the CONNECTION LIMIT.',
  ],
  'shutting-down': [
    (failed) =>
      code(/^57P0[12]$/)(failed) || isFailure('refused', { code: /^57P03$/, reason: /shutting/ })(failed),
    'The server is shutting down or restarting. Try again in a moment.',
  ],
  'starting-up': [
    code(/^57P03$/),
    'The server is not ready yet: it is starting, or recovering after a crash. Try again in a moment; if it stays ' +
      'like this, its log says how far it is. A standby that never lets anybody in may have hot_standby = off.',
  ],
  'database-closed': [
    isFailure('refused', { code: /^55000$/, routine: /^CheckMyDatabase/ }),
    ({ plan }) =>
      `Nobody may connect to "${plan.database}". Open it with: ` +
      `ALTER DATABASE ${quote(plan.database)} ALLOW_CONNECTIONS true`,
  ],
  'no-connect-privilege': [
    isFailure('refused', { code: /^42501$/, routine: /^CheckMyDatabase/ }),
    ({ plan }) =>
      `"${plan.user}" may not connect to this database. Allow it with: ` +
      `GRANT CONNECT ON DATABASE ${quote(plan.database)} TO ${quote(plan.user)}`,
  ],
  'bad-setting': [
    code(/^(?:42704|22023|42501|55P02)$/),
    (failed) =>
      `A setting that the session should begin with is not accepted. It comes from options (from: ` +
      `${originOf(failed, 'options')}), PGOPTIONS, PGTZ, PGDATESTYLE or PGGEQO.`,
  ],
  'refused-by-pooler': [
    code(/^08P01$/),
    'This is probably a pooler such as PgBouncer: check that it knows the database and the user, and let it pass ' +
      'what it does not know with ignore_startup_parameters.',
  ],
}

/** What the server refuses because of pg_hba.conf; less certain, since encryption may have failed before. */
export const accessRules: Rules = {
  'pg-hba-reject': [
    unauthorized({ reason: /pg_hba\.conf rejects/ }),
    'A line of the server’s pg_hba.conf says "reject" for this user, database, address and encryption. Remove it, ' +
      'or put one that allows the login above it, and reload with: SELECT pg_reload_conf()',
  ],
  'no-pg-hba-entry': [
    unauthorized({ reason: /pg_hba\.conf/ }),
    (failed) =>
      `No line of the server's pg_hba.conf lets this user in from here${describeEncryption(failed)}. Add one, such as\n` +
      `    ${describeLine(failed)}\nand reload with: SELECT pg_reload_conf()`,
  ],
  'client-certificate': [
    unauthorized({ routine: /^ClientAuthentication$/ }),
    'The server wants a certificate of the client’s. Give one with sslcert and sslkey; by default it is ' +
      '~/.postgresql/postgresql.crt with postgresql.key. It must be signed by an authority in the server’s ssl_ca_file.',
  ],
  'login-refused': [
    code(/^28/),
    (failed) =>
      'The line of pg_hba.conf that applies asks for something else than a password (peer, ident, a certificate, ' +
      `LDAP…), and it was not met. With peer, the operating system's user (here "${localName()}") must have the ` +
      `role's name ("${failed.plan.user}") or be mapped to it in pg_ident.conf; by TCP with host=localhost another ` +
      'line applies.',
  ],
  refused: [
    isFailure('refused'),
    ({ error }) =>
      `The server refused the session with SQLSTATE ${error.code ?? 'unknown'}; its log may say more. The manual's ` +
      'appendix "PostgreSQL Error Codes" explains the code.',
  ],
}

function describePassword(failed: FailedAttempt): string {
  const { password } = failed.plan
  return password.kind === 'file' ? `password file ${password.file}` : originOf(failed, 'password')
}

/** With both tried, encryption is not the point. */
function describeEncryption({ error, plan, socket }: FailedAttempt): string {
  if (socket !== null || error.reason.includes('(with SSL)')) return ''
  return error.encryption === 'tls'
    ? ' with encryption (there may be a "hostnossl" line: sslmode=disable uses it)'
    : ` without encryption (there may be a "hostssl" line: sslmode=require uses it; now it is ${plan.tls.mode})`
}

/** A line that would let the user in; the address is the one that the server sees. */
function describeLine({ error, plan, socket }: FailedAttempt): string {
  const names = `${word(plan.database)} ${word(plan.user)}`
  if (socket !== null) return `local ${names} scram-sha-256`
  const address = /host "([0-9A-Fa-f.:]+)"/.exec(error.reason)?.[1]
  const range = address === undefined ? 'ADDRESS' : `${address}/${address.includes(':') ? 128 : 32}`
  return `${error.encryption === 'tls' ? 'hostssl' : 'host'} ${names} ${range} scram-sha-256`
}

/** A name as pg_hba.conf wants it. */
function word(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name}"`
}

/** A name as SQL wants it. */
function quote(name: string): string {
  return `"${name.replace(/"/g, '""')}"`
}

function localName(): string {
  try {
    return userInfo().username
  } catch {
    return '?'
  }
}
