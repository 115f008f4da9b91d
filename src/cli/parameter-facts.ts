import { keywords } from '../conninfo/keywords.js'
import { mustHide } from '../conninfo/mask.js'
import { resolveConninfo, type ResolvedParameter } from '../conninfo/resolve.js'
import { MASK } from '../conninfo/secret.js'
import { environmentSettings } from '../conninfo/plan.js'
import type { ParameterFacts } from './report.js'

/** Time for each attempt when `connect_timeout` does not say: libpq would wait for as long as the system does. */
export const ATTEMPT_MILLIS = 10_000

/** Every parameter that has a value, with secrets masked, in libpq's order. Throws a ConninfoError. */
export function listParameters(conninfo: string | undefined, env: NodeJS.ProcessEnv): ParameterFacts[] {
  const resolved = showBound(resolveConninfo(conninfo, env))
  const listed = [...keywords].flatMap(([name, { effect }]): ParameterFacts[] => {
    const { value, source, detail = null } = resolved[name] ?? { value: '', source: 'default' }
    if (value === '' && source === 'default') return []
    return [{ name, value: mustHide(name, value) ? MASK : value, source, detail, effect }]
  })
  // These are no connection parameters, yet set something for the session.
  const settings = environmentSettings(env).map(([name, , value]): ParameterFacts => ({
    name,
    value,
    source: 'environment',
    detail: name,
    effect: 'honoured',
  }))
  return [...listed, ...settings]
}

/** The bound that is the check's own is shown like one that was given. */
function showBound(resolved: Record<string, ResolvedParameter>): Record<string, ResolvedParameter> {
  const given = resolved['connect_timeout']
  if (given !== undefined && !(Number(given.value) <= 0)) return resolved
  const detail = 'of this check; otherwise no limit'
  return { ...resolved, connect_timeout: { value: String(ATTEMPT_MILLIS / 1000), source: 'default', detail } }
}

/** Where a value comes from, in words. */
export function describeSource({ source, detail }: Pick<ParameterFacts, 'source' | 'detail'>): string {
  if (source === 'string') return 'connection string'
  if (source === 'default') return detail === null ? source : `${source} (${detail})`
  return `${source} ${detail ?? ''}`
}
