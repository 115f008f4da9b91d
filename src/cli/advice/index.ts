import { Failure } from '../../connect/index.js'
import { describeThrown } from '../../util/thrown.js'
import type { Problem } from '../report.js'
import { networkRules, policyRules, sessionRules, tlsRules } from './connecting.js'
import { accessRules, refusalRules } from './refusal.js'
import { when, type FailedAttempt, type Rules } from './rule.js'

export { diagnoseConninfo } from './conninfo.js'

const otherRules: Rules = { unknown: when(() => true)`The server’s log may say more.` }

/** The first that applies counts. */
const kinds = [networkRules, policyRules, sessionRules, refusalRules, tlsRules, accessRules, otherRules]
const rules = kinds.flatMap(Object.entries<Rules[string]>)

const SESSION = {
  'silent-server': 'The server may be overloaded, or something on the way keeps its answers back.',
  'connection-lost': 'The server’s log says why it ended the session, unless the network did.',
}

/** The names of all kinds of problems. */
export const problemCodes: readonly string[] = [
  ...new Set([...rules.map(([code]) => code), 'conninfo', ...Object.keys(SESSION)]),
]

/** What kind of failure it is, and what to do about it. */
export function diagnose(failed: FailedAttempt): Problem {
  const [code, [, advise]] = rules.find(([, [applies]]) => applies(failed))!
  return { code, message: failed.error.reason, advice: advise(failed) }
}

/** What to do about a connection that was opened, and then gave no answers. */
export function diagnoseSession(error: unknown): Problem {
  const isSilent = error instanceof Failure && error.kind === 'timeout'
  const code = isSilent ? 'silent-server' : 'connection-lost'
  const what = isSilent
    ? 'but the server did not answer a query in time'
    : `and lost again: ${describeThrown(error)}`
  return { code, message: `the connection was opened, ${what}`, advice: SESSION[code] }
}
