/** What libpq reads of this machine: where its files and sockets are, the password file, the service file. */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { homedir, userInfo } from 'node:os'
import { join } from 'node:path'
import { ConninfoError } from '../errors.js'
import { isKeyword } from './keywords.js'

/** Where packaged servers put their Unix sockets. */
const SOCKET_DIRECTORIES: readonly string[] = ['/var/run/postgresql', '/tmp']

/** Where packaged libpqs look for the system-wide service file (`pg_config --sysconfdir`). */
const SYSTEM_DIRECTORIES = [
  '/etc/postgresql-common',
  '/etc/sysconfig/pgsql',
  '/usr/local/pgsql/etc',
  '/usr/local/etc/postgresql',
  '/opt/homebrew/etc/postgresql',
] as const

/** The paths of the user's files that libpq reads unless it is told of others, whether or not they exist. */
export function userFiles(env: NodeJS.ProcessEnv) {
  const windows = process.platform === 'win32'
  const home = windows ? join(env['APPDATA'] ?? homedir(), 'postgresql') : env['HOME'] || homedir()
  const certificates = windows ? home : join(home, '.postgresql')
  return {
    password: join(home, windows ? 'pgpass.conf' : '.pgpass'),
    service: join(home, '.pg_service.conf'),
    certificate: join(certificates, 'postgresql.crt'),
    key: join(certificates, 'postgresql.key'),
    rootCertificate: join(certificates, 'root.crt'),
    revocationList: join(certificates, 'root.crl'),
  }
}

/** The name of the operating system's user, who is the database user by default. */
export function localUser(): string {
  try {
    // Bun takes it from the environment, which may say anything, or nothing.
    const found = process.versions['bun'] === undefined ? undefined : nameInPasswd()
    return found ?? userInfo().username
  } catch (cause) {
    throw new ConninfoError('could not look up local user; give the "user" parameter', { cause })
  }
}

/** The name of the process's user among those of this machine. */
function nameInPasswd(): string | undefined {
  if (!existsSync('/etc/passwd')) return undefined
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
  const id = String(process.geteuid?.())
  return users.find((fields) => fields[2] === id)?.[0]
}

/** The directory where a local server has its socket for this port, else `localhost`. */
export function defaultHost(port: number): string {
  return SOCKET_DIRECTORIES.find((directory) => existsSync(socketPath(directory, port))) ?? 'localhost'
}

/** The Unix socket of a server: a path, or a name in Linux's abstract namespace (which libpq writes with `@`). */
export function socketPath(directory: string, port: number): string {
  return `${directory}/.s.PGSQL.${port}`
}

// ---- passwords

interface Login {
  /** The host as it was given: a name, an address or a socket directory. */
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
}

const warned = new Set<string>()

/** What `findPassword` finds. A file that is not used is reported once, by a warning of the process. */
export function passwordFromFile(file: string, login: Login): string | undefined {
  const { password, warning } = findPassword(file, login)
  if (warning !== undefined && !warned.has(warning)) {
    warned.add(warning)
    process.emitWarning(warning, { type: 'ConninfoWarning' })
  }
  return password
}

/**
 * Looks a password up in a password file: the first line whose four fields match, `*` matching anything. A file
 * that others can read is not used.
 *
 * @returns the password, unless no line matches, and why a file that is there is not used
 * @see PostgreSQL manual, "The Password File" (libpq)
 */
export function findPassword(file: string, login: Login): { password?: string; warning?: string } {
  let text: string
  try {
    const warning = distrust(file, statSync(file).mode)
    if (warning !== null) return { warning }
    text = readFileSync(file, 'utf8')
  } catch {
    // No such file, or not readable: libpq goes on without it.
    return {}
  }
  const hosts = SOCKET_DIRECTORIES.includes(login.host) ? ['localhost', login.host] : [login.host]
  const wanted = [hosts, [String(login.port)], [login.database], [login.user]]
  for (const line of text.split('\n')) {
    const [, ...fields] = (line.startsWith('#') ? null : PASSWORD_LINE.exec(line.replace(/\r$/, ''))) ?? []
    if (wanted.every((texts, index) => fits(fields[index], texts))) return { password: unescape(fields[4]!) }
  }
  return {}
}

function fits(field: string | undefined, texts: readonly string[]): boolean {
  return field === '*' || (field !== undefined && texts.includes(unescape(field)))
}

function distrust(file: string, mode: number): string | null {
  if ((mode & 0o170000) !== 0o100000) return `password file "${file}" is not a plain file`
  if (process.platform === 'win32' || (mode & 0o077) === 0) return null
  return `password file "${file}" has group or world access; permissions should be u=rw (0600) or less`
}

/** Five fields between colons; a backslash takes the next character as it is. What follows a fifth colon is ignored. */
const PASSWORD_LINE =
  /^((?:[^:\\]|\\[^])*):((?:[^:\\]|\\[^])*):((?:[^:\\]|\\[^])*):((?:[^:\\]|\\[^])*):((?:[^:\\]|\\[^])*\\?)/

function unescape(field: string): string {
  return field.replace(/\\([^])/g, '$1')
}

// ---- services

/** libpq reads lines into a buffer of this many bytes, and refuses what does not fit. */
const LINE_BYTES = 1024

/**
 * Looks a service up: in `PGSERVICEFILE` or else `~/.pg_service.conf`, then in the system-wide file.
 *
 * @returns what it stands for, and the file that says so
 * @see PostgreSQL manual, "The Connection Service File" (libpq)
 * @throws ConninfoError when no file defines the service, or one is malformed
 */
export function findService(service: string, env: NodeJS.ProcessEnv) {
  const given = env['PGSERVICEFILE']
  if (given !== undefined && !existsSync(given)) {
    throw new ConninfoError(`service file "${given}" not found`)
  }
  const directories = env['PGSYSCONFDIR'] === undefined ? SYSTEM_DIRECTORIES : [env['PGSYSCONFDIR']]
  const systemFiles = directories.map((directory) => join(directory, 'pg_service.conf'))
  for (const file of [given ?? userFiles(env).service, ...systemFiles]) {
    const parameters = existsSync(file) ? readService(file, service) : null
    if (parameters !== null) return { file, parameters }
  }
  throw new ConninfoError(`definition of service "${service}" not found`)
}

function readService(file: string, service: string): Map<string, string> | null {
  let found: Map<string, string> | null = null
  for (const [index, text] of readLines(file).entries()) {
    if (Buffer.byteLength(text) + 1 >= LINE_BYTES - 1) {
      throw new ConninfoError(`line ${index + 1} too long in service file "${file}"`)
    }
    const line = text.replace(/^[ \t\v\f\r]+|[ \t\v\f\r]+$/g, '')
    if (line === '' || line.startsWith('#')) continue
    if (line.startsWith('[')) {
      if (found !== null) return found
      if (line.startsWith(`[${service}]`)) found = new Map()
    } else if (found !== null) {
      readSetting(line, `in service file "${file}", line ${index + 1}`, found)
    }
  }
  return found
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n')
  } catch (cause) {
    throw new ConninfoError(`could not read service file "${file}"`, { cause })
  }
}

/** One `keyword=value`; the first of several wins. A line is never quoted: it may hold a password. */
function readSetting(line: string, at: string, found: Map<string, string>): void {
  if (line.startsWith('ldap:')) throw new ConninfoError(`LDAP is not supported ${at}`)
  const [, name = '', value = ''] = /^([^=]*)=(.*)$/s.exec(line) ?? []
  if (name === 'service') throw new ConninfoError(`nested service specifications not supported ${at}`)
  if (!isKeyword(name)) throw new ConninfoError(`syntax error ${at}`)
  if (!found.has(name)) found.set(name, value)
}
