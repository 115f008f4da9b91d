import { ConninfoError } from '../errors.js'
import { parseChoice } from './values.js'

/** The ways to log in that `require_auth` has names for. `'none'`: the server asked for nothing. */
const AUTH_METHODS = ['password', 'md5', 'gss', 'sspi', 'scram-sha-256', 'oauth', 'none'] as const

/** A way to log in. */
export type AuthMethod = (typeof AUTH_METHODS)[number]

/** What this client can do when the server asks for it. */
const SUPPORTED: readonly AuthMethod[] = ['password', 'md5', 'scram-sha-256', 'none']

/** Which ways to log in are allowed. */
export interface RequireAuth {
  /** The parameter as it was given. */
  readonly text: string
  readonly allowed: ReadonlySet<AuthMethod>
}

/**
 * Reads `require_auth`: a list of allowed methods, or of forbidden ones each with a `!`.
 *
 * @returns null when everything is allowed
 * @throws ConninfoError for a malformed list, and for one that this client cannot meet
 */
export function parseRequireAuth(text: string): RequireAuth | null {
  if (text === '') return null
  const negative = text.startsWith('!')
  const named = new Set<AuthMethod>()
  for (const item of text.split(',')) {
    const method = parseChoice('require_auth', item.replace(/^!/, ''), AUTH_METHODS)
    if (item.startsWith('!') !== negative) {
      throw new ConninfoError(
        negative
          ? `require_auth method "${item}" cannot be mixed with negative methods`
          : `negative require_auth method "${item}" cannot be mixed with non-negative methods`,
      )
    }
    if (named.has(method)) {
      throw new ConninfoError(`require_auth method "${item}" is specified more than once`)
    }
    named.add(method)
  }
  const allowed = new Set(AUTH_METHODS.filter((method) => named.has(method) !== negative))
  if (SUPPORTED.some((method) => allowed.has(method))) return { text, allowed }
  throw new ConninfoError(
    `require_auth value "${text}" cannot be met: this client supports none of its methods`,
  )
}
