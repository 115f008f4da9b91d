import type { Socket } from 'node:net'
import type { Client } from 'pg'
import type { TargetSessionAttrs } from '../conninfo/plan.js'
import { ask } from '../pg/ask.js'
import { internals } from '../pg/driver.js'
import { makeConnected } from '../pg/patches.js'
import { cancelSession, type CancelOptions } from './cancel.js'
import { dial, readBeforeError } from './dial.js'
import { AttemptError, Failure, type AttemptTarget, type Encryption, type Try } from './failures.js'
import { logIn, Refusal, type LoggedIn } from './log-in.js'
import { abortable } from './waiting.js'

export type OpenStep =
  | { readonly kind: 'look-up'; readonly host: string }
  | { readonly kind: 'attempt'; readonly target: AttemptTarget; readonly encryption: Encryption }
  | { readonly kind: 'reached'; readonly target: AttemptTarget }
  | { readonly kind: 'failed'; readonly error: AttemptError }
  | { readonly kind: 'opened'; readonly target: AttemptTarget; readonly encryption: Encryption }

export interface OpenedClient extends LoggedIn {
  readonly target: AttemptTarget
  readonly encryption: Encryption
  /**
   * Asks the server to cancel what this session is doing. Does nothing over a stream that the user gave.
   *
   * @throws AttemptError when the request could not be delivered, or the signal's reason
   */
  cancel(options?: CancelOptions): Promise<void>
}

/** What an attempt needs to know; with which encryption is for `sslmode` to say. */
interface AttemptContext extends Omit<Try, 'encryption' | 'onReached'> {
  readonly wanted: TargetSessionAttrs
  readonly onStep: (step: OpenStep) => void
}

/**
 * Tries one address, with each encryption that `sslmode` allows in its order.
 *
 * @throws AttemptError, or the reason of the context's signal when that is not a failure itself
 */
export async function attempt(context: AttemptContext): Promise<OpenedClient> {
  const { target } = context
  const [first, second] = encryptions(context)
  const opened = await attemptWith(first, context).catch(onlyFailure)
  if (!(opened instanceof Failure)) return opened
  if (second === undefined || !mayFallBack(opened)) throw new AttemptError(target, opened, first)
  const again = await attemptWith(second, context).catch(onlyFailure)
  if (!(again instanceof Failure)) return again
  const [before, after] = second === 'tls' ? ['without', 'with'] : ['with', 'without']
  const reason = `${opened.message} (${before} SSL), then ${again.message} (${after} SSL)`
  throw new AttemptError(target, new Failure(again.kind, reason, again.cause ?? again), second)
}

function onlyFailure(error: unknown): Failure {
  if (error instanceof Failure) return error
  throw error
}

/** The encryptions to try. Unix sockets are never encrypted, whatever `sslmode` is: libpq's rule. */
function encryptions({ plan, target }: AttemptContext): [Encryption, Encryption?] {
  if (target.socket !== undefined) return ['none']
  const { mode } = plan.tls
  if (mode === 'disable') return ['none']
  if (mode !== 'allow' && mode !== 'prefer') return ['tls']
  // A stream that the user gave cannot be dialed again.
  if (plan.stream !== undefined) return ['none']
  return mode === 'allow' ? ['none', 'tls'] : ['tls', 'none']
}

/**
 * Whether the other encryption may fare better: TLS failed, or the server turned the client away before it was let
 * in (`pg_hba.conf` may have a line for the other one). A password that was refused is not sent again.
 */
function mayFallBack(failure: Failure): boolean {
  if (failure.kind === 'tls') return true
  if (!(failure instanceof Refusal) || failure.afterLogin) return false
  return (failure.cause as { code?: string }).code !== '28P01'
}

async function attemptWith(wished: Encryption, context: AttemptContext): Promise<OpenedClient> {
  const { target, plan, onStep } = context
  onStep({ kind: 'attempt', target, encryption: wished })
  const onReached = () => onStep({ kind: 'reached', target })
  const tried = { ...context, encryption: wished, onReached }
  const reached = plan.stream === undefined ? await dial(tried) : null
  const encryption = reached?.encryption ?? wished
  const stream = reached === null ? plan.stream! : adopt(reached.socket)
  const loggedIn = await logIn(stream, { ...context, encryption }).catch((error: unknown) => {
    // The server declined TLS, so this was the try without it already: there is no other to fall back on.
    const isLast = error instanceof Failure && encryption !== wished
    throw isLast ? new AttemptError(target, error, encryption) : error
  })
  await checkOrClose(loggedIn, context)
  onStep({ kind: 'opened', target, encryption })
  const cancel = async (options?: CancelOptions): Promise<void> => {
    if (reached !== null)
      await cancelSession(internals(loggedIn.client), { target, plan, encryption }, options)
  }
  return { ...loggedIn, target, encryption, cancel }
}

async function checkOrClose(loggedIn: LoggedIn, { wanted, signal }: AttemptContext): Promise<void> {
  try {
    await checkSession(loggedIn, wanted, signal)
  } catch (error) {
    const { stream } = internals(loggedIn.client).connection
    if (signal.aborted) {
      stream.destroy()
      throw error
    }
    // A polite good-bye, but no waiting for the server to hang up.
    stream.once('finish', () => stream.destroy())
    loggedIn.client.end().catch(() => {})
    throw error instanceof Failure ? error : new Failure('session', (error as Error).message, error)
  }
}

function adopt(socket: Socket): () => Socket {
  readBeforeError(socket)
  makeConnected(socket)
  return () => socket
}

/**
 * Checks that a session is what `target_session_attrs` asks for. Since PostgreSQL 14 the server says so by itself;
 * an older one is asked.
 *
 * @throws Failure of kind `session` when it is not
 */
async function checkSession(
  { client, session }: LoggedIn,
  wanted: TargetSessionAttrs,
  signal: AbortSignal,
): Promise<void> {
  if (wanted === 'any') return
  const isTrue = (text: string) => abortable(signal, askServer(client, text))
  const { inHotStandby, defaultReadOnly } = session
  if (wanted === 'read-write' || wanted === 'read-only') {
    const isSilent = inHotStandby === null || defaultReadOnly === null
    const readOnly = isSilent ? await isTrue('SHOW transaction_read_only') : inHotStandby || defaultReadOnly
    if (readOnly === (wanted === 'read-only')) return
    throw new Failure('session', readOnly ? 'session is read-only' : 'session is not read-only')
  }
  const standby = inHotStandby ?? (await isTrue('SELECT pg_catalog.pg_is_in_recovery()'))
  if (standby === (wanted !== 'primary')) return
  throw new Failure('session', `server is ${standby ? '' : 'not '}in hot standby mode`)
}

async function askServer(client: Client, text: string): Promise<boolean> {
  const { rows } = await ask(client, text)
  const value: unknown = Object.values(rows[0] ?? {})[0]
  return value === true || value === 'on' || value === 't'
}
