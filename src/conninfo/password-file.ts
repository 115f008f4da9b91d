import { readFileSync, statSync } from 'node:fs'
import { isDefaultSocketDirectory } from './local-defaults.js'

/** Whose password is looked up. */
export interface Login {
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
  const hosts = isDefaultSocketDirectory(login.host) ? ['localhost', login.host] : [login.host]
  for (const line of text.split('\n')) {
    const password = matchLine(line.replace(/\r$/, ''), hosts, login)
    if (password !== null) return { password }
  }
  return {}
}

function distrust(file: string, mode: number): string | null {
  if ((mode & 0o170000) !== 0o100000) return `password file "${file}" is not a plain file`
  if (process.platform === 'win32' || (mode & 0o077) === 0) return null
  return `password file "${file}" has group or world access; permissions should be u=rw (0600) or less`
}

/** Five fields between colons; a backslash takes the next character as it is. What follows a fifth colon is ignored. */
const LINE =
  /^((?:[^:\\]|\\[^])*):((?:[^:\\]|\\[^])*):((?:[^:\\]|\\[^])*):((?:[^:\\]|\\[^])*):((?:[^:\\]|\\[^])*\\?)/

function matchLine(line: string, hosts: readonly string[], login: Login): string | null {
  const fields = line.startsWith('#') ? null : LINE.exec(line)
  if (fields === null) return null
  const [host, port, database, user, password] = fields.slice(1) as [string, string, string, string, string]
  const matches =
    hosts.some((name) => fits(host, name)) &&
    fits(port, String(login.port)) &&
    fits(database, login.database) &&
    fits(user, login.user)
  return matches ? unescape(password) : null
}

function fits(field: string, text: string): boolean {
  return field === '*' || unescape(field) === text
}

function unescape(field: string): string {
  return field.replace(/\\([^])/g, '$1')
}
