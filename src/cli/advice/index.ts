import { Failure } from '../../connect/index.js'
import type { Problem } from '../report.js'
import { networkRules } from './network.js'
import { policyRules, sessionRules } from './policy.js'
import { accessRules, refusalRules } from './refusal.js'
import type { FailedAttempt, Rules } from './rule.js'
import { tlsRules } from './tls.js'

export { diagnoseConninfo } from './conninfo.js'

/** The first that applies counts. */
const rules = [networkRules, policyRules, sessionRules, refusalRules, tlsRules, accessRules].flatMap(
  Object.entries<Rules[string]>,
)

/** The names of all kinds of problems. */
export const problemCodes: readonly string[] = [
  ...new Set([...rules.map(([code]) => code), 'unknown', 'conninfo', 'silent-server', 'connection-lost']),
]

/** What kind of failure it is, and what to do about it. */
export function diagnose(failed: FailedAttempt): Problem {
  const message = failed.error.reason
  for (const [code, [applies, advice]] of rules) {
    if (applies(failed))
      return { code, message, advice: typeof advice === 'string' ? advice : advice(failed) }
  }
  return { code: 'unknown', message, advice: 'The server’s log may say more.' }
}

/** What to do about a connection that was opened, and then gave no answers. */
export function diagnoseSession(error: unknown): Problem {
  if (error instanceof Failure && error.kind === 'timeout') {
    return {
      code: 'silent-server',
      message: 'the connection was opened, but the server did not answer a query in time',
      advice: 'The server may be overloaded, or something on the way keeps its answers back.',
    }
  }
  return {
    code: 'connection-lost',
    message: `the connection was opened, and lost again: ${error instanceof Error ? error.message : String(error)}`,
    advice: 'The server’s log says why it ended the session, unless the network did.',
  }
}
