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

/** What a password file answered. */
export interface PasswordLookup {
  /** The password of the first line that matches; undefined when none does, or the file is not used. */
  readonly password?: string
  /** Why a file that is there is not used. */
  readonly warning?: string
}

/**
 * Looks a password up in a password file: the first line whose four fields match, `*` matching anything. A file
 * that others can read is not used.
 *
 * @see PostgreSQL manual, "The Password File" (libpq)
 */
export function findPassword(file: string, login: Login): PasswordLookup {
  const text = readGuarded(file)
  if (typeof text !== 'string') return text
  const hosts = isDefaultSocketDirectory(login.host) ? ['localhost', login.host] : [login.host]
  for (const line of text.split('\n')) {
    const password = matchLine(line.replace(/\r$/, ''), hosts, login)
    if (password !== null) return { password }
  }
  return {}
}

function readGuarded(file: string): string | PasswordLookup {
  try {
    const { mode } = statSync(file)
    const fault = distrust(file, mode)
    return fault === null ? readFileSync(file, 'utf8') : { warning: fault }
  } catch {
    // No such file, or not readable: libpq goes on without it.
    return {}
  }
}

function distrust(file: string, mode: number): string | null {
  if ((mode & 0o170000) !== 0o100000) return `password file "${file}" is not a plain file`
  if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
    return `password file "${file}" has group or world access; permissions should be u=rw (0600) or less`
  }
  return null
}

function matchLine(line: string, hosts: readonly string[], login: Login): string | null {
  if (line.startsWith('#')) return null
  const [, host, port, database, user, password] = LINE.exec(line) ?? []
  const matches =
    hosts.some((name) => fits(host, name)) &&
    fits(port, String(login.port)) &&
    fits(database, login.database) &&
    fits(user, login.user)
  return matches ? unescape(password!) : null
}

/** Five fields between colons; a backslash takes the next character as it is. What follows a fifth colon is ignored. */
const LINE =
  /^((?:[^:\\]|\\[^])*):((?:[^:\\]|\\[^])*):((?:[^:\\]|\\[^])*):((?:[^:\\]|\\[^])*):((?:[^:\\]|\\[^])*\\?)/

function fits(field: string | undefined, text: string): boolean {
  return field === '*' || (field !== undefined && unescape(field) === text)
}

function unescape(field: string): string {
  return field.replace(/\\([^])/g, '$1')
}
