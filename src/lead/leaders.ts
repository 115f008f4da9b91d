/**
 * Who leads, and who stands for it, by the advisory locks of the manager's session. Those who stand for the same name
 * wait for each other here, because the server would give the lock to one session any number of times.
 *
 * Whoever leads has to know at once when the lock may be gone: with the session; behind a text that may have given it
 * back; and when it is not there, where it is looked for from time to time.
 */
import { askSilently } from '../backend/checks.js'
import { ManagerEndedError } from '../errors.js'
import { askIfQuiet, Heartbeat } from '../listen/heartbeat.js'
import { StatementsRequest } from '../pipeline/query-request.js'
import { onAbort } from '../util/abort-listeners.js'
import { reasonOf, throwIfAborted } from '../util/abort-signals.js'
import { clock, inNobodysContext } from '../util/clock.js'
import { pause } from '../util/pause.js'
import { timerFor } from '../util/timer.js'
import { Candidate } from './candidate.js'
import { LOOK_TEXT, mayUnlock, type HeldKey } from './lock.js'
import { Locks, type Held } from './locks.js'
import type { QueryResult } from 'pg'
import type { Leadership } from '../api/ports.js'
import type { Backend } from '../backend/backend.js'
import type { SessionOwner } from '../listen/session-owner.js'
import type { ResolvedOptions } from '../options.js'
import type { Request } from '../pipeline/request.js'

/** A doubt that has lasted so long, in milliseconds, is no doubt any more. */
const LONGEST_DOUBT_MILLIS = 5_000

export class Leaders {
  readonly #host: SessionOwner
  readonly #locks: Locks
  readonly #heartbeat: Heartbeat
  /** Those who stand for each name, in order; the first tries, or leads. */
  readonly #lines = new Map<string, Candidate[]>()

  constructor(host: SessionOwner, options: ResolvedOptions) {
    this.#host = host
    this.#locks = new Locks(host, options)
    this.#heartbeat = new Heartbeat(options.heartbeatMillis, this.#beat)
  }

  /** The names for which somebody stands. */
  get names(): string[] {
    return [...this.#lines.keys()]
  }

  /** Somebody stands for a name. */
  get present(): boolean {
    return this.#lines.size > 0
  }

  /** Somebody leads: the session is not to be replaced. */
  get leading(): boolean {
    return this.#leaders.length > 0
  }

  get #leaders(): Candidate[] {
    return this.#all.filter(({ leads }) => leads)
  }

  get #all(): Candidate[] {
    return [...this.#lines.values()].flat()
  }

  // ---- standing

  /** Resolves once it leads. @throws UnsupportedServerError, ManagerEndedError, the reason of the signal */
  async stand(name: string, retryMillis: number, signal: AbortSignal | undefined): Promise<Leadership> {
    if (this.#host.ending) throw new ManagerEndedError()
    throwIfAborted(signal)
    this.#locks.refuse()
    const candidate = new Candidate(name, retryMillis, this.#stepDown)
    const stopListening = signal && onAbort(signal, () => this.#giveUp(candidate, reasonOf(signal)))
    const line = this.#lines.get(name)
    if (line === undefined) {
      this.#lines.set(name, [candidate])
      this.#begin(candidate)
    } else line.push(candidate)
    try {
      return await candidate.elected
    } finally {
      stopListening?.()
    }
  }

  #giveUp(candidate: Candidate, reason: unknown): void {
    candidate.giveUp(reason)
    if (candidate.state === 'waiting') this.#leave(candidate)
  }

  #leave(candidate: Candidate): void {
    candidate.become('over')
    const line = this.#lines.get(candidate.name)!
    const wasFirst = line[0] === candidate
    line.splice(line.indexOf(candidate), 1)
    if (line.length === 0) this.#lines.delete(candidate.name)
    else if (wasFirst) this.#begin(line[0]!)
    if (!this.leading) {
      this.#heartbeat.stop()
      if (candidate.held !== null) candidate.held.backend.onRequestAnswered = null
    }
    // A connection that is too old may be replaced now, or become idle.
    this.#host.onUnused()
  }

  /** In nobody's context: it goes on for as long as it takes. */
  #begin(candidate: Candidate): void {
    void inNobodysContext(() => this.#campaign(candidate))
  }

  async #campaign(candidate: Candidate): Promise<void> {
    candidate.become('trying')
    try {
      while (!(await this.#try(candidate))) await pause(candidate.retryMillis, candidate.givenUp)
    } catch (error) {
      candidate.giveUp(error)
      this.#leave(candidate)
    }
  }

  /** False where another try may come to more. */
  async #try(candidate: Candidate): Promise<boolean> {
    const { name, givenUp } = candidate
    try {
      const held = await this.#locks.take(name, givenUp)
      // It may have gone with its session by now.
      if (held === null || held.backend.lost !== null) return false
      if (!givenUp.aborted) return this.#win(candidate, held)
      await this.#locks.giveBack(name, held.backend)
      throw reasonOf(givenUp)
    } catch (error) {
      if (givenUp.aborted || !this.#locks.mayPass(error)) throw error
      this.#host.onBackgroundError(error as Error)
      return false
    }
  }

  #win(candidate: Candidate, held: Held): true {
    held.backend.onRequestAnswered = this.#onAnswered
    candidate.win(held)
    this.#heartbeat.start()
    return true
  }

  // ---- stepping down

  readonly #stepDown = async (candidate: Candidate): Promise<void> => {
    if (candidate.state !== 'leading') return
    candidate.become('leaving')
    await this.#locks.giveBack(candidate.name, candidate.held!.backend)
    this.#leave(candidate)
  }

  // ---- being certain

  readonly #beat = (): void => {
    const { backend } = this.#host
    if (backend !== null && this.#mayLook(backend)) void this.#look(backend)
    else askIfQuiet(backend)
  }

  /** Between a holder's own statements there may be a transaction of the holder's, which is not to be disturbed. */
  #mayLook({ pipeline }: Backend): boolean {
    const isQuiet = pipeline.pending === 0 && pipeline.status === 'idle'
    return isQuiet || (!this.#host.held && pipeline.pending > 0)
  }

  readonly #onAnswered = (request: Request): void => {
    // What ends a transaction is the library's own, which keeps the locks.
    if (request.traits.endsTransaction) return
    const inTransaction = this.#host.backend?.pipeline.status !== 'idle'
    if (!textsOf(request).some((text) => mayUnlock(text, inTransaction))) return
    // When the answer has been dealt with: what the request's owner sends because of it comes first.
    clock.queueMicrotask(this.#onDoubted)
  }

  readonly #onDoubted = (): void => {
    const { backend } = this.#host
    if (backend === null || !this.leading) return
    if (this.#mayLook(backend)) {
      const late = timerFor(LONGEST_DOUBT_MILLIS, () => this.#deposeAll(backend, unknownLock()))
      void this.#look(backend).finally(() => late?.stop())
    } else this.#deposeAll(backend, unknownLock())
  }

  async #look(backend: Backend): Promise<void> {
    const leaders = this.#leaders.filter((leader) => leader.leadsOn(backend))
    try {
      const { rows } = await askSilently<QueryResult<HeldKey>>(backend, LOOK_TEXT)
      const held = new Set(rows.map(({ key }) => key))
      const without = leaders.filter((leader) => !held.has(leader.held!.row.key))
      for (const leader of without)
        leader.depose(new Error('the session does not have its advisory lock any more'))
    } catch (error) {
      this.#deposeAll(backend, unknownLock(error))
    }
  }

  #deposeAll(backend: Backend, cause: Error): void {
    for (const leader of this.#leaders) if (leader.leadsOn(backend)) leader.depose(cause)
  }

  /** The session is gone, or about to be closed, which is no loss. */
  onSessionGone(lost?: Error): void {
    if (this.present) this.#locks.onSessionGone(lost)
    for (const leader of this.#leaders) leader.depose(lost ?? new Error('the connection was closed'))
    this.#heartbeat.stop()
  }

  /** The manager takes no more work: nobody leads or stands any more. */
  end(): void {
    this.#heartbeat.stop()
    for (const candidate of this.#all) {
      candidate.depose(new ManagerEndedError())
      this.#giveUp(candidate, new ManagerEndedError())
    }
  }
}

function textsOf(request: Request): readonly string[] {
  return request instanceof StatementsRequest ? request.statements.map(({ text }) => text) : [request.text]
}

function unknownLock(cause?: unknown): Error {
  return new Error(
    'a statement may have given its advisory lock back, and whether it has could not be looked up at once',
    { cause },
  )
}
