import { keywords } from '../conninfo/keywords.js'
import { mustHide } from '../conninfo/mask.js'
import { resolveConninfo } from '../conninfo/resolve.js'
import { MASK } from '../conninfo/secret.js'
import { isUri } from '../conninfo/parse.js'
import { splitUri } from '../conninfo/uri-parts.js'
import { environmentSettings } from '../conninfo/plan.js'
import { ConninfoError } from '../errors.js'
import type { ParameterFacts } from './report.js'

/** Time for each attempt when `connect_timeout` does not say: libpq would wait for as long as the system does. */
export const ATTEMPT_MILLIS = 10_000

/**
 * Refuses a URI with an `@` behind the login, such as `postgres://ann:pass/word@host/db`: for libpq, `pass` is a
 * port there and `word@host/db` a database. Whatever were printed about it might be a part of a password.
 *
 * @throws ConninfoError
 */
export function refuseStrayAt(conninfo: string | undefined): void {
  if (conninfo === undefined || !isUri(conninfo)) return
  const { login, rest } = splitUri(conninfo)
  const at = rest.lastIndexOf('@')
  if (at < 0 || !`${login}${rest.slice(0, at)}`.includes(':')) return
  throw new ConninfoError('the URI has an "@" behind the host, which is probably part of a password')
}

/** Every parameter that has a value, with secrets masked, in libpq's order. Throws a ConninfoError. */
export function listParameters(conninfo: string | undefined, env: NodeJS.ProcessEnv): ParameterFacts[] {
  const resolved = resolveConninfo(conninfo, env)
  const timeout = resolved['connect_timeout']
  if (timeout === undefined || Number(timeout.value) <= 0) {
    // The bound that is the check's own is shown like one that was given.
    const detail = 'of this check; otherwise no limit'
    resolved['connect_timeout'] = { value: String(ATTEMPT_MILLIS / 1000), source: 'default', detail }
  }
  const listed = [...keywords].flatMap(([name, { effect }]): ParameterFacts[] => {
    const { value, source, detail = null } = resolved[name] ?? { value: '', source: 'default' }
    if (value === '' && source === 'default') return []
    return [{ name, value: mustHide(name, value) ? MASK : value, source, detail, effect }]
  })
  // These are no connection parameters, yet set something for the session.
  const settings = environmentSettings(env).map(([name, , value]): ParameterFacts => {
    return { name, value, source: 'environment', detail: name, effect: 'honoured' }
  })
  return [...listed, ...settings]
}

/** Where a value comes from, in words. */
export function describeSource({ source, detail }: Pick<ParameterFacts, 'source' | 'detail'>): string {
  if (source === 'string') return 'connection string'
  if (source === 'default') return detail === null ? source : `${source} (${detail})`
  return `${source} ${detail ?? ''}`
}
