import type { Duplex } from 'node:stream'
import type { Client, CustomTypesConfig, DatabaseError as ServerError } from 'pg'
import { passwordFromFile } from '../conninfo/local-files.js'
import type { StreamSource } from '../conninfo/parameters.js'
import type { ConnectPlan } from '../conninfo/plan.js'
import { DatabaseError, internals } from '../pg/driver.js'
import { forgetDefaults, forgetPassword, guardParser } from '../pg/patches.js'
import { pg } from '../pg/pg.js'
import { CLOSED, Failure, isNetworkError, networkFailure, type Try } from './failures.js'
import { AuthWatch, collectParameters, sessionFacts, type SessionFacts } from './session.js'
import { tlsOptions } from './tls.js'
import { abortable } from './waiting.js'

export interface LoggedIn {
  /** Connected, with `pipeline: true`. It has an `error` listener that does nothing; add one that does. */
  readonly client: Client
  readonly session: SessionFacts
}

export class Refusal extends Failure {
  /** @param afterLogin the server had accepted the user before */
  constructor(
    reason: string,
    readonly afterLogin: boolean,
    cause: unknown,
  ) {
    super('refused', reason, cause)
  }
}

/**
 * Has pg log in over a stream that is connected already, or that pg is to use as it is.
 *
 * @throws Failure, or the signal's reason; the stream is destroyed then
 */
export async function logIn(stream: StreamSource, tried: Try): Promise<LoggedIn> {
  const { signal } = tried
  // Filled in below: the client wants the function before there is anything to watch.
  let watch: AuthWatch | null = null
  const client = makeClient(stream, tried, async () => {
    if (watch?.violation) throw watch.violation
    return abortable(signal, givePassword(tried))
  })
  const { connection } = internals(client)
  watch = new AuthWatch(connection, tried)
  const status = collectParameters(connection)
  guardParser(connection)
  try {
    await abortable(signal, client.connect() as unknown as Promise<void>)
    if (watch.violation) throw watch.violation
    forgetPassword(client)
    return { client, session: sessionFacts(status.parameters, watch.method, connection.stream) }
  } catch (error) {
    connection.stream.destroy()
    throw signal.aborted ? signal.reason : explain(error as Error, watch, tried)
  } finally {
    status.stop()
  }
}

/** pg falls back on the environment wherever a value is missing or empty, so everything is given. */
function makeClient(
  stream: StreamSource,
  { target, plan, encryption }: Try,
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

function explain(error: Error, watch: AuthWatch, { plan, target }: Try): Failure {
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
  const said = `${error.severity ?? 'FATAL'}:  ${error.message}`
  if (error.code !== '28P01' || password.kind !== 'file') return said
  return `${said}\npassword retrieved from file "${password.file}"`
}

function describeMethod(code: number): string {
  if (code === 7 || code === 8) return 'GSSAPI authentication not supported'
  if (code === 9) return 'SSPI authentication not supported'
  return `authentication method ${code} not supported`
}

// ---- the password

/**
 * The password for an attempt; a function or a password file is asked anew each time.
 *
 * @throws Failure of kind `policy` when there is none
 */
async function givePassword(tried: Try): Promise<string> {
  const password = await askSource(tried)
  if (password === undefined || password === '') {
    throw new Failure('policy', 'fe_sendauth: no password supplied')
  }
  if (typeof password !== 'string') {
    throw new Failure('policy', `the password function must give a string, not ${typeof password}`)
  }
  return password
}

async function askSource({ plan, target }: Try): Promise<string | undefined> {
  const { password, database, user } = plan
  if (password.kind === 'text') return password.secret.reveal()
  if (password.kind === 'function') {
    try {
      return await password.get()
    } catch (error) {
      throw new Failure('policy', 'the password function failed', error)
    }
  }
  const { port, address = '', host } = target
  return passwordFromFile(password.file, { host: host || address, port, database, user })
}
