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
  if (line === '' || line.startsWith('#')) return null
  const fields = splitFields(line)
  if (fields.length < 5) return null
  const [host, port, database, user, password] = fields as [Field, Field, Field, Field, Field]
  const matches =
    hosts.some((name) => fits(host, name)) &&
    fits(port, String(login.port)) &&
    fits(database, login.database) &&
    fits(user, login.user)
  return matches ? password.text : null
}

/** A field with its escapes undone; a `*` that is the whole of it matches anything. */
interface Field {
  readonly text: string
  readonly any: boolean
}

function fits(field: Field, text: string): boolean {
  return field.any || field.text === text
}

/** The fields between colons; `\:` and `\\` stand for the character itself. */
function splitFields(line: string): Field[] {
  return [...line.matchAll(/((?:[^:\\]|\\[^]|\\$)*)(?::|$)/g)].slice(0, 5).map(([, raw = '']) => ({
    text: raw.replace(/\\([^])/g, '$1'),
    any: raw === '*',
  }))
}
