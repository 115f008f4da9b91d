import type { Duplex } from 'node:stream'
import type { Client, CustomTypesConfig, DatabaseError as ServerError } from 'pg'
import type { ConnectPlan } from '../conninfo/plan.js'
import type { StreamSource } from '../conninfo/parameters.js'
import { Failure, type AttemptTarget, type Encryption } from './attempt-error.js'
import { AuthWatch } from './auth-watch.js'
import { abortable } from './with-deadline.js'
import { givePassword } from './password.js'
import { DatabaseError, internals } from '../pg/driver.js'
import { forgetDefaults, forgetPassword, guardParser } from '../pg/patches.js'
import pg from '../pg/pg.js'
import { isNetworkError, networkFailure } from './reasons.js'
import { collectParameters, sessionFacts, type SessionFacts } from './session-facts.js'
import { tlsOptions } from './tls-options.js'
import { CLOSED } from './wait-for.js'

/** A client that the server has let in. */
export interface LoggedIn {
  readonly client: Client
  readonly session: SessionFacts
}

/** The server refused, and whether it had accepted the user before. */
export class Refusal extends Failure {
  readonly afterLogin: boolean

  constructor(reason: string, afterLogin: boolean, cause: unknown) {
    super('refused', reason, cause)
    this.afterLogin = afterLogin
  }
}

/**
 * Has pg log in over a stream that is connected already, or that pg is to use as it is.
 *
 * @throws Failure, or the signal's reason; the stream is destroyed then
 */
export async function logIn(
  stream: StreamSource,
  encryption: Encryption,
  target: AttemptTarget,
  plan: ConnectPlan,
  signal: AbortSignal,
): Promise<LoggedIn> {
  // Filled in below: the client wants the function before there is anything to watch.
  let watch: AuthWatch | null = null
  const client = makeClient(stream, encryption, target, plan, async () => {
    if (watch?.violation) throw watch.violation
    return abortable(signal, givePassword(plan, target))
  })
  const { connection } = internals(client)
  watch = new AuthWatch(connection, plan, encryption)
  const status = collectParameters(connection)
  guardParser(connection)
  try {
    await abortable(signal, client.connect() as unknown as Promise<void>)
    if (watch.violation) throw watch.violation
    forgetPassword(client)
    return { client, session: sessionFacts(status.parameters, watch, connection.stream) }
  } catch (error) {
    connection.stream.destroy()
    throw signal.aborted ? signal.reason : explain(error as Error, watch, plan, target)
  } finally {
    status.stop()
  }
}

/** pg falls back on the environment wherever a value is missing or empty, so everything is given. */
function makeClient(
  stream: StreamSource,
  encryption: Encryption,
  target: AttemptTarget,
  plan: ConnectPlan,
  password: () => Promise<string>,
): Client {
  const upgrade = plan.stream !== undefined && encryption === 'tls'
  const client = new pg.Client({
    host: target.host || target.address || 'localhost',
    port: target.port,
    user: plan.user,
    database: plan.database,
    password,
    ssl: upgrade ? tlsOptions(plan.tls, target.host) : false,
    sslnegotiation: upgrade ? plan.tls.negotiation : 'postgres',
    stream: stream as () => Duplex,
    enableChannelBinding: encryption === 'tls' && plan.channelBinding !== 'disable',
    pipeline: true,
    ...(plan.types === undefined ? {} : { types: plan.types as CustomTypesConfig }),
    ...(plan.scramMaxIterations === undefined ? {} : { scramMaxIterations: plan.scramMaxIterations }),
  })
  // An `error` event without a listener would end the process. The backend adds a listener of its own later.
  client.on('error', () => {})
  forgetDefaults(client, plan.startup)
  return client
}

function explain(error: Error, watch: AuthWatch, plan: ConnectPlan, target: AttemptTarget): Failure {
  if (watch.violation) return watch.violation
  if (error instanceof Failure) return error
  if (error instanceof DatabaseError && error.code !== undefined) {
    return new Refusal(describeRefusal(error, plan), watch.accepted, error)
  }
  if (/^Connection terminated/.test(error.message)) return new Failure('network', CLOSED, error)
  const method = /^Unknown authenticationOk message type (\d+)$/.exec(error.message)
  if (method !== null) return new Failure('policy', describeMethod(Number(method[1])), error)
  if (String((error as NodeJS.ErrnoException).code).startsWith('ERR_SSL')) {
    return new Failure('tls', `SSL error: ${error.message}`, error)
  }
  return isNetworkError(error) ? networkFailure(error, target) : new Failure('protocol', error.message, error)
}

function describeRefusal(error: ServerError, plan: ConnectPlan): string {
  const { password } = plan
  const fromFile = error.code === '28P01' && password.kind === 'file'
  return (
    `${error.severity ?? 'FATAL'}:  ${error.message}` +
    (fromFile ? `\npassword retrieved from file "${password.file}"` : '')
  )
}

function describeMethod(code: number): string {
  if (code === 7 || code === 8) return 'GSSAPI authentication not supported'
  if (code === 9) return 'SSPI authentication not supported'
  return `authentication method ${code} not supported`
}
