import type { Socket } from 'node:net'
import type { Client } from 'pg'
import type { ConnectPlan, TargetSessionAttrs } from '../conninfo/plan.js'
import { AttemptError, Failure, type AttemptTarget, type Encryption } from './attempt-error.js'
import { cancelSession, type CancelOptions } from './cancel.js'
import { dial } from './dial.js'
import { logIn, Refusal, type LoggedIn } from './log-in.js'
import { internals } from '../pg/driver.js'
import { makeConnected } from '../pg/patches.js'
import { readBeforeError } from './read-before-error.js'
import type { SessionFacts } from './session-facts.js'
import { checkSession } from './target-session.js'

/** What happens while a connection is opened. */
export type OpenStep =
  | { readonly kind: 'look-up'; readonly host: string }
  | { readonly kind: 'attempt'; readonly target: AttemptTarget; readonly encryption: Encryption }
  | { readonly kind: 'failed'; readonly error: AttemptError }
  | { readonly kind: 'opened'; readonly target: AttemptTarget; readonly encryption: Encryption }

/** A connection that is open and ready for statements. */
export interface OpenedClient {
  /** Connected, with `pipeline: true`. It has an `error` listener that does nothing; add one that does. */
  readonly client: Client
  /** Whom it is connected to. */
  readonly target: AttemptTarget
  readonly encryption: Encryption
  readonly session: SessionFacts
  /**
   * Asks the server to cancel what this session is doing. Does nothing over a stream that the user gave.
   *
   * @throws AttemptError when the request could not be delivered, or the signal's reason
   */
  cancel(options?: CancelOptions): Promise<void>
}

/** What an attempt needs to know. */
interface AttemptContext {
  readonly plan: ConnectPlan
  readonly wanted: TargetSessionAttrs
  readonly signal: AbortSignal
  readonly onStep: (step: OpenStep) => void
}

/**
 * Tries one address, with each encryption that `sslmode` allows in its order.
 *
 * @throws AttemptError, or the reason of the context's signal when that is not a failure itself
 */
export async function attempt(target: AttemptTarget, context: AttemptContext): Promise<OpenedClient> {
  const [first, second] = encryptions(context.plan, target)
  const opened = await attemptWith(first, target, context).catch(onlyFailure)
  if (!(opened instanceof Failure)) return opened
  if (second === undefined || !mayFallBack(opened)) throw new AttemptError(target, opened, first)
  const again = await attemptWith(second, target, context).catch(onlyFailure)
  if (!(again instanceof Failure)) return again
  const [before, after] = second === 'tls' ? ['without', 'with'] : ['with', 'without']
  const reason = `${opened.message} (${before} SSL), then ${again.message} (${after} SSL)`
  throw new AttemptError(target, new Failure(again.kind, reason, again.cause ?? again), second)
}

/** Gives a failure, and throws whatever else it is. */
function onlyFailure(error: unknown): Failure {
  if (error instanceof Failure) return error
  throw error
}

/** The encryptions to try. Unix sockets are never encrypted, whatever `sslmode` is: libpq's rule. */
function encryptions(plan: ConnectPlan, target: AttemptTarget): [Encryption, Encryption?] {
  if (target.socket !== undefined) return ['none']
  const { mode } = plan.tls
  // A stream that the user gave cannot be dialed again.
  if (plan.stream !== undefined && (mode === 'allow' || mode === 'prefer')) return ['none']
  if (mode === 'disable') return ['none']
  if (mode === 'allow') return ['none', 'tls']
  return mode === 'prefer' ? ['tls', 'none'] : ['tls']
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

async function attemptWith(
  wished: Encryption,
  target: AttemptTarget,
  { plan, wanted, signal, onStep }: AttemptContext,
): Promise<OpenedClient> {
  onStep({ kind: 'attempt', target, encryption: wished })
  const reached = plan.stream === undefined ? await dial(target, plan, wished, signal) : null
  const encryption = reached?.encryption ?? wished
  const stream = reached === null ? plan.stream! : adoptSocket(reached.socket)
  const loggedIn = await logIn(stream, encryption, target, plan, signal).catch((error: unknown) => {
    // The server declined TLS, so this was the try without it already: there is no other to fall back on.
    throw error instanceof Failure && encryption !== wished
      ? new AttemptError(target, error, encryption)
      : error
  })
  await checkOrClose(loggedIn, wanted, signal)
  onStep({ kind: 'opened', target, encryption })
  return {
    ...loggedIn,
    target,
    encryption,
    cancel: (options) =>
      reached === null
        ? Promise.resolve()
        : cancelSession(internals(loggedIn.client), target, encryption, plan, options),
  }
}

async function checkOrClose(
  loggedIn: LoggedIn,
  wanted: TargetSessionAttrs,
  signal: AbortSignal,
): Promise<void> {
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

/** Readies a connected socket for pg. */
function adoptSocket(socket: Socket): () => Socket {
  readBeforeError(socket)
  makeConnected(socket)
  return () => socket
}
