import { findPassword } from '../conninfo/local-files.js'
import { isUri } from '../conninfo/parse.js'
import { planConnection, type ConnectPlan } from '../conninfo/plan.js'
import { AttemptError, openClient, type OpenedClient, type OpenStep } from '../connect/index.js'
import { internals } from '../pg/driver.js'
import { withDeadline } from '../connect/waiting.js'
import { ConnectError, ConninfoError } from '../errors.js'
import { diagnose, diagnoseConninfo, diagnoseSession } from './advice/index.js'
import { AttemptLog } from './attempt-log.js'
import { examine } from './examine.js'
import { ATTEMPT_MILLIS, describeSource, listParameters, refuseStrayAt } from './parameter-facts.js'
import type { EncryptionFacts, ParameterFacts, Report } from './report.js'

/** Time for all attempts together, whatever `connect_timeout` says. */
const OPENING_MILLIS = 60_000

/** Time for the questions to the server, and for saying good-bye. */
const QUESTIONS_MILLIS = 10_000
const FAREWELL_MILLIS = 1_000

/** A certificate that ends sooner is worth a word. */
const SOON_DAYS = 14
const DAY_MILLIS = 86_400_000

/**
 * Connects as `ManagedConnection` would, and says what came of it and why. Takes a bounded time, and never throws
 * for what is wrong with the connection string, the network or the server.
 *
 * @param conninfo a connection string; undefined: everything from the environment and the defaults
 * @param onStep told of each step while a connection is opened
 */
export async function check(
  conninfo: string | undefined,
  env: NodeJS.ProcessEnv,
  onStep: (step: OpenStep) => void = () => {},
): Promise<Report> {
  let parameters: readonly ParameterFacts[] = []
  try {
    refuseStrayAt(conninfo)
    parameters = listParameters(conninfo, env)
    const plan = planConnection(conninfo, env)
    const connectTimeoutMillis = plan.connectTimeoutMillis || ATTEMPT_MILLIS
    const report = await tryPlan({ ...plan, connectTimeoutMillis }, parameters, onStep)
    return { ...report, warnings: [...warnOfString(conninfo), ...report.warnings] }
  } catch (error) {
    if (!(error instanceof ConninfoError)) throw error
    const problem = diagnoseConninfo(error.message, conninfo)
    return { ok: false, parameters, attempts: [], connection: null, problem, warnings: [] }
  }
}

async function tryPlan(
  plan: ConnectPlan,
  parameters: readonly ParameterFacts[],
  onStep: (step: OpenStep) => void,
): Promise<Report> {
  const fileWarnings = warnOfPasswordFile(plan)
  const log = new AttemptLog((failed) => diagnose({ ...failed, plan, parameters, fileWarnings }))
  const tell = (step: OpenStep): void => {
    log.onStep(step)
    onStep(step)
  }
  const { connection, problem } = await connectAndExamine(plan, log, tell)
  const warnings = [...fileWarnings, ...warnOfParameters(parameters)]
  if (connection?.pooler === true) warnings.push(POOLER)
  if (connection?.tls) warnings.push(...warnOfTls(connection.tls))
  return { ok: problem === null, parameters, attempts: log.list(plan), connection, problem, warnings }
}

async function connectAndExamine(
  plan: ConnectPlan,
  log: AttemptLog,
  onStep: (step: OpenStep) => void,
): Promise<Pick<Report, 'connection' | 'problem'>> {
  let opened: OpenedClient
  try {
    const deadline = performance.now() + OPENING_MILLIS
    opened = await openClient(plan, { deadline, onStep })
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

// What works, and yet is probably not what is wanted.

const POOLER =
  'a pooler such as PgBouncer is in between: in session mode give the manager the option pooler: ‘session’; in ' +
  'transaction mode give pooler: ‘transaction’ and prepare: false, unless the pooler keeps prepared statements, and ' +
  'do not use listen, whose LISTEN is lost with the transaction'

/** A line break in a URI becomes a part of its last value. */
function warnOfString(conninfo: string | undefined): string[] {
  if (conninfo === undefined || !isUri(conninfo) || !/[\r\n]/.test(conninfo)) return []
  return ['there is a line break in the connection string, which has become a part of a value; take it out']
}

/** Why a password file that is there will not be read. */
function warnOfPasswordFile({ hosts, password, database, user }: ConnectPlan): string[] {
  if (password.kind !== 'file') return []
  const warnings = hosts.map(({ host, hostaddr = '', port }) => {
    return findPassword(password.file, { host: host || hostaddr, port, database, user }).warning
  })
  return [...new Set(warnings)].filter((warning) => warning !== undefined)
}

function warnOfParameters(parameters: readonly ParameterFacts[]): string[] {
  return parameters
    .filter(({ effect, source }) => effect === 'without effect' && source !== 'default')
    .map((one) => `${one.name} (${describeSource(one)}) is without effect here`)
}

function warnOfTls({ verified, certificate }: EncryptionFacts): string[] {
  const warnings: string[] = []
  if (!verified) {
    warnings.push(
      'the server’s certificate was not verified, so anybody on the way could pose as the server; ' +
        'sslmode=verify-full with an sslrootcert checks it',
    )
  }
  if (certificate === null) return warnings
  const { validUntil } = certificate
  const days = Math.floor((Date.parse(validUntil) - Date.now()) / DAY_MILLIS)
  const ends = days < 0 ? 'expired' : `expires in ${days} day${days === 1 ? '' : 's'},`
  if (days < SOON_DAYS) warnings.push(`the server’s certificate ${ends} on ${validUntil}`)
  return warnings
}
