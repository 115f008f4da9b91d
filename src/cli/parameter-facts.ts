import { isSecret, keywords } from '../conninfo/keywords.js'
import { MASK, mayHoldSecret } from '../conninfo/quote.js'
import { resolveConninfo, type ResolvedParameter } from '../conninfo/resolve.js'
import { ATTEMPT_MILLIS } from './limits.js'
import type { ParameterFacts } from './report.js'

/** Variables that are no connection parameters, yet set something for the session, as with libpq. */
const SESSION_VARIABLES = ['PGDATESTYLE', 'PGTZ', 'PGGEQO'] as const

/** Where a part of a password may have gone astray. */
const FREE_TEXT: ReadonlySet<string> = new Set(['options', 'dbname', 'host', 'port'])

/**
 * Every parameter that has a value, with secrets masked, in libpq's order.
 *
 * @throws ConninfoError
 */
export function listParameters(conninfo: string | undefined, env: NodeJS.ProcessEnv): ParameterFacts[] {
  const resolved = showBound(resolveConninfo(conninfo, env))
  const listed = [...keywords].flatMap(([name, { effect }]): ParameterFacts[] => {
    const parameter = resolved[name]
    return parameter === undefined || isEmptyDefault(parameter) ? [] : [describe(name, parameter, effect)]
  })
  return [...listed, ...listSessionVariables(env)]
}

/** The bound that is the check's own is shown like one that was given. */
function showBound(resolved: Record<string, ResolvedParameter>): Record<string, ResolvedParameter> {
  const given = resolved['connect_timeout']
  if (given !== undefined && !(Number(given.value) <= 0)) return resolved
  const detail = 'of this check; otherwise no limit'
  return { ...resolved, connect_timeout: { value: String(ATTEMPT_MILLIS / 1000), source: 'default', detail } }
}

function isEmptyDefault({ value, source }: ResolvedParameter): boolean {
  return value === '' && source === 'default'
}

function describe(
  name: string,
  { value, source, detail }: ResolvedParameter,
  effect: ParameterFacts['effect'],
): ParameterFacts {
  return { name, value: hides(name, value) ? MASK : value, source, detail: detail ?? null, effect }
}

function hides(name: string, value: string): boolean {
  return isSecret(name) || value.includes('://') || (FREE_TEXT.has(name) && mayHoldSecret(value))
}

function listSessionVariables(env: NodeJS.ProcessEnv): ParameterFacts[] {
  return SESSION_VARIABLES.flatMap((name): ParameterFacts[] => {
    const value = env[name]
    if (value === undefined || value.toLowerCase() === 'default') return []
    return [{ name, value, source: 'environment', detail: name, effect: 'honoured' }]
  })
}

/** Where a value comes from, in words. */
export function describeSource({ source, detail }: Pick<ParameterFacts, 'source' | 'detail'>): string {
  switch (source) {
    case 'string':
      return 'connection string'
    case 'environment':
    case 'service file':
    case 'password file':
      return `${source} ${detail ?? ''}`
    case 'default':
      return detail === null ? 'default' : `default (${detail})`
    default:
      return source
  }
}
