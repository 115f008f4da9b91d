import { findPassword } from '../conninfo/password-file.js'
import { planConnection, type ConnectPlan } from '../conninfo/plan.js'
import { AttemptError, openClient, type OpenedClient } from '../connect/index.js'
import { withDeadline } from '../connect/with-deadline.js'
import { internals } from '../pg/driver.js'
import { ConnectError, ConninfoError } from '../errors.js'
import { diagnose, diagnoseConninfo, diagnoseSession } from './advice/index.js'
import { AttemptLog } from './attempt-log.js'
import { examine } from './examine.js'
import { ATTEMPT_MILLIS, FAREWELL_MILLIS, OPENING_MILLIS, QUESTIONS_MILLIS } from './limits.js'
import { listParameters } from './parameter-facts.js'
import type { ConnectionFacts, ParameterFacts, Problem, Report } from './report.js'
import { refuseStrayAt } from './stray-at.js'
import { warnOf } from './warnings.js'

/**
 * Connects as `ManagedConnection` would, and says what came of it and why. Takes a bounded time, and never throws
 * for what is wrong with the connection string, the network or the server.
 *
 * @param conninfo a connection string; undefined: everything from the environment and the defaults
 */
export async function check(conninfo: string | undefined, env: NodeJS.ProcessEnv): Promise<Report> {
  let parameters: readonly ParameterFacts[] = []
  try {
    refuseStrayAt(conninfo)
    parameters = listParameters(conninfo, env)
    const plan = bound(planConnection(conninfo, env))
    return await tryPlan(plan, parameters)
  } catch (error) {
    if (!(error instanceof ConninfoError)) throw error
    const problem = diagnoseConninfo(error)
    return { ok: false, parameters, attempts: [], connection: null, problem, warnings: [] }
  }
}

function bound(plan: ConnectPlan): ConnectPlan {
  return { ...plan, connectTimeoutMillis: plan.connectTimeoutMillis || ATTEMPT_MILLIS }
}

async function tryPlan(plan: ConnectPlan, parameters: readonly ParameterFacts[]): Promise<Report> {
  const fileWarnings = warnOfPasswordFile(plan)
  const log = new AttemptLog((error, socket) => diagnose({ error, socket, plan, parameters, fileWarnings }))
  const { connection, problem } = await connectAndExamine(plan, log)
  const attempts = log.list(plan)
  return {
    ok: problem === null,
    parameters,
    attempts,
    connection,
    problem,
    warnings: [...fileWarnings, ...warnOf(parameters, connection)],
  }
}

/** Why a password file that is there will not be read. */
function warnOfPasswordFile({ hosts, password, database, user }: ConnectPlan): string[] {
  if (password.kind !== 'file') return []
  const warnings = hosts.map(({ host, hostaddr, port }) => {
    const login = { host: host || (hostaddr ?? ''), port, database, user }
    return findPassword(password.file, login).warning
  })
  return [...new Set(warnings)].filter((warning) => warning !== undefined)
}

interface Outcome {
  readonly connection: ConnectionFacts | null
  readonly problem: Problem | null
}

async function connectAndExamine(plan: ConnectPlan, log: AttemptLog): Promise<Outcome> {
  let opened: OpenedClient
  try {
    const deadline = performance.now() + OPENING_MILLIS
    opened = await openClient(plan, { deadline, onStep: log.onStep })
  } catch (error) {
    const last = error instanceof ConnectError ? error.errors.at(-1) : undefined
    if (!(last instanceof AttemptError)) throw error
    return { connection: null, problem: log.list(plan).findLast((row) => row.problem !== null)!.problem }
  }
  try {
    const limits = { timeoutMillis: QUESTIONS_MILLIS }
    return { connection: await withDeadline(limits, (signal) => examine(opened, signal)), problem: null }
  } catch (error) {
    return { connection: null, problem: diagnoseSession(error) }
  } finally {
    await hangUp(opened)
  }
}

async function hangUp({ client }: OpenedClient): Promise<void> {
  const { stream } = internals(client).connection
  const timer = setTimeout(() => stream.destroy(), FAREWELL_MILLIS)
  try {
    await client.end()
  } catch {
    stream.destroy()
  } finally {
    clearTimeout(timer)
  }
}
