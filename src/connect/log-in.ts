import type { Duplex } from 'node:stream'
import pg from 'pg'
import type { ConnectPlan } from '../conninfo/plan.js'
import type { StreamSource } from '../conninfo/parameters.js'
import { Failure, type AttemptTarget, type Encryption } from './attempt-error.js'
import { AuthWatch } from './auth-watch.js'
import { noteSeverity } from '../pg/severity.js'
import { Framing, type FramingHooks } from './framing.js'
import { abortable } from './with-deadline.js'
import { givePassword } from './password.js'
import { internals, type PgConnection } from './pg-connection.js'
import { isNetworkError, networkFailure } from './reasons.js'
import { collectParameters, sessionFacts, type SessionFacts } from './session-facts.js'
import { tlsOptions } from './tls-options.js'
import { CLOSED } from './wait-for.js'

/** A client that the server has let in. */
export interface LoggedIn {
  readonly client: pg.Client
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

/** Nobody asks for it again, and a client that is printed would show it. */
function forgetPassword(client: pg.Client): void {
  const inner = internals(client)
  inner.password = null
  inner.connectionParameters['password'] = null
}

/** pg falls back on the environment wherever a value is missing or empty, so everything is given. */
function makeClient(
  stream: StreamSource,
  encryption: Encryption,
  target: AttemptTarget,
  plan: ConnectPlan,
  password: () => Promise<string>,
): pg.Client {
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
    ...(plan.types === undefined ? {} : { types: plan.types as pg.CustomTypesConfig }),
    ...(plan.scramMaxIterations === undefined ? {} : { scramMaxIterations: plan.scramMaxIterations }),
  })
  // An error with nobody to tell must not end the process; whoever gets the client adds a listener of their own.
  client.on('error', () => {})
  forgetDefaults(client, plan)
  return client
}

/**
 * pg puts `pg.defaults` and variables of its own in the place of what was not given, and of what was given as empty.
 * Here they would be paid for by others: at its `query_timeout`, say, pg destroys the socket with everybody's
 * statements on it. How values are parsed and written (`pg.types`, `parseInputDatesAsUTC`) stays the user's choice.
 */
function forgetDefaults(client: pg.Client, plan: ConnectPlan): void {
  const inner = internals(client)
  inner.binary = false
  inner.replication = undefined
  for (const name of AMONG_DEFAULTS) inner.connectionParameters[name] = plan.startup[name]
  inner.getStartupConf = () => ({ ...plan.startup })
}

const AMONG_DEFAULTS = [
  'application_name',
  'binary',
  'client_encoding',
  'fallback_application_name',
  'idle_in_transaction_session_timeout',
  'lock_timeout',
  'options',
  'query_timeout',
  'replication',
  'statement_timeout',
] as const

/**
 * pg's parser throws, inside a socket's event, at bytes that are no message and at an authentication method that it
 * does not know. That is the end of the connection, with this as its reason, and no uncaught exception.
 */
function guardParser(connection: PgConnection): void {
  const attach = connection.attachListeners.bind(connection)
  connection.attachListeners = (stream) => {
    attach(
      new Proxy(stream, {
        get: (target, name) =>
          name === 'on'
            ? (event: string, listener: (chunk: Buffer) => void) =>
                target.on(event, event === 'data' ? guard(connection, target, listener) : listener)
            : (Reflect.get(target, name, target) as unknown),
      }),
    )
  }
}

function guard(
  connection: PgConnection,
  stream: Duplex,
  listener: (chunk: Buffer) => void,
): (chunk: Buffer) => void {
  const framing = new Framing()
  const hooks: FramingHooks = {
    pass: listener,
    onRowTooLong: (bytes) => connection.emit('rowTooLong', bytes),
  }
  // Before pg's own listener, which comes with connect().
  connection.on('errorMessage', (error: object) => {
    const severity = framing.severities.shift() ?? ''
    if (severity !== '') noteSeverity(error, severity)
  })
  return (chunk) => {
    try {
      framing.read(chunk, hooks)
    } catch (error) {
      stream.destroy(error as Error)
    }
  }
}

function explain(error: Error, watch: AuthWatch, plan: ConnectPlan, target: AttemptTarget): Failure {
  if (watch.violation) return watch.violation
  if (error instanceof Failure) return error
  if (error instanceof pg.DatabaseError && error.code !== undefined) {
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

function describeRefusal(error: pg.DatabaseError, plan: ConnectPlan): string {
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
