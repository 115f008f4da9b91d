/** What is asked for in one turn of a sandbox, carried out one after the other. */
import { ConnectionLostError } from '../errors.js'
import { SandboxTransaction } from './transaction.js'
import { ownCall } from './texts.js'
import type { QueryResult } from 'pg'
import type { LeaseTerms } from '../api/ports.js'
import type { StatementCall } from '../api/statement.js'
import type { BaseRequests } from '../lease/base-lease.js'
import type { EndAnswer, Loss, ServerState } from '../lease/settlement.js'
import type { SandboxSession } from './session.js'

interface Entry {
  readonly text: string
  readonly internal: boolean
  /** Tells its caller so at once, and keeps it from being sent. */
  readonly reject: (error: Error) => void
}

export class SandboxRequests implements BaseRequests {
  readonly transaction: SandboxTransaction
  readonly session: SandboxSession
  /** There is none to be replaced: a lost connection ends the sandbox. */
  readonly backend = null
  readonly commitment = null
  readonly speaksSince = null
  readonly #unsettled = new Set<Entry>()
  readonly #cancel = new AbortController()
  #tail: Promise<unknown> = Promise.resolve()
  #whenQuiet: (() => void)[] = []

  constructor(terms: LeaseTerms, session: SandboxSession) {
    this.session = session
    this.transaction = new SandboxTransaction(terms, session)
  }

  get outstanding(): number {
    return this.#unsettled.size
  }

  get serverState(): ServerState {
    if (this.session.base.refusal() !== null) return 'lost'
    if (!this.transaction.open) return 'idle'
    return this.session.base.status === 'inerror' ? 'inerror' : 'intrans'
  }

  get loss(): Loss | null {
    const cause = this.session.base.refusal()
    return cause === null ? null : { cause, outcome: 'none', open: true }
  }

  lossError({ cause }: Pick<Loss, 'cause'>): ConnectionLostError {
    return new ConnectionLostError({ commitOutcome: 'none', cause, retrySafe: true })
  }

  refusal(): Error | null {
    const lost = this.session.base.refusal()
    if (lost !== null) return lost
    return this.transaction.endedByText ? this.transaction.endedError() : null
  }

  mayRetry(): boolean {
    return !this.transaction.mayHaveCommitted
  }

  query(call: StatementCall): Promise<QueryResult> {
    const { signal } = call.limits
    const both = signal === undefined ? this.#cancel.signal : AbortSignal.any([signal, this.#cancel.signal])
    return this.enqueue(call.statement.text, false, async () => {
      signal?.throwIfAborted()
      const refusal = this.refusal()
      if (refusal !== null) throw refusal
      return this.transaction.run({ ...call, limits: { ...call.limits, signal: both } })
    })
  }

  /** Carries `work` out when everything before is over. */
  enqueue<T>(text: string, internal: boolean, work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      let refused: Error | null = null
      const refuse = (error: Error): void => reject((refused = error))
      const entry: Entry = { text, internal, reject: refuse }
      this.#unsettled.add(entry)
      const worked = this.#tail.then(() => {
        if (refused !== null) throw refused as Error
        return work()
      })
      this.#tail = worked.then(
        () => this.#settled(entry),
        () => this.#failed(entry),
      )
      void this.#tail.then(() => worked.then(resolve, reject))
    })
  }

  /** Rejects everything with `error`, and has what runs cancelled. */
  rejectAll(error: Error): void {
    for (const entry of this.#unsettled) entry.reject(error)
    this.#cancel.abort(error)
  }

  /** One that was cancelled may still run. */
  async #failed(entry: Entry): Promise<void> {
    const { base } = this.session
    if (base.status === 'active') await base.query(ownCall('SELECT 1'), null).catch(() => {})
    this.#settled(entry)
  }

  #settled(entry: Entry): void {
    this.#unsettled.delete(entry)
    if (this.outstanding > 0) return
    const waiting = this.#whenQuiet
    this.#whenQuiet = []
    for (const tell of waiting) tell()
  }

  quiet(): Promise<void> {
    if (this.outstanding === 0) return Promise.resolve()
    return new Promise((resolve) => this.#whenQuiet.push(resolve))
  }

  takeUnfinished(): string[] {
    const entries = [...this.#unsettled]
    return entries.filter(({ internal }) => !internal).map(({ text }) => text)
  }

  /** What still runs after the grace is given up with the connection, and the sandbox with it. */
  lose(): void {
    void this.session.base.drop()
  }

  /** Savepoints of nested transactions. */
  control(text: string, _kind: string, _ends: boolean, internal: boolean): Promise<unknown> {
    return this.enqueue(text, internal, () => this.transaction.nest(text))
  }

  end(text: 'COMMIT' | 'ROLLBACK', internal = false): Promise<EndAnswer> | null {
    const { transaction } = this
    if (!transaction.open && this.outstanding === 0) return null
    return this.enqueue(text, internal, async () => {
      if (!transaction.open) return { tag: null, failedBefore: null }
      const failedBefore = transaction.swallowed
      transaction.swallowed = null
      if (text === 'COMMIT') {
        const committed = await transaction.commit()
        return { tag: committed ? 'COMMIT' : 'ROLLBACK', failedBefore }
      }
      await transaction.rollBack()
      return { tag: 'ROLLBACK', failedBefore }
    })
  }
}
