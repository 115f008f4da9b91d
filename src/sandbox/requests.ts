/** What is asked for in one turn of a sandbox, carried out one after the other. */
import { ConnectionLostError } from '../errors.js'
import { SandboxTransaction } from './transaction.js'
import { ownCall } from './texts.js'
import type { QueryResult } from 'pg'
import type { LeaseTerms } from '../api/ports.js'
import type { StatementCall } from '../api/statement.js'
import type { EndAnswer, ServerState } from '../lease/settlement.js'
import type { SandboxSession } from './session.js'

interface Entry {
  readonly text: string
  readonly internal: boolean
  readonly promise: Promise<unknown>
}

export class SandboxRequests {
  readonly transaction: SandboxTransaction
  readonly session: SandboxSession
  /** There is none to be replaced: a lost connection ends the sandbox. */
  readonly backend = null
  readonly commitment = null
  readonly #unsettled = new Set<Entry>()
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

  get loss(): { cause: Error; outcome: 'none'; open: true } | null {
    const cause = this.session.base.refusal()
    return cause === null ? null : { cause, outcome: 'none', open: true }
  }

  lossError({ cause }: { cause: Error }): ConnectionLostError {
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
    return this.enqueue(call.statement.text, false, async () => {
      call.limits.signal?.throwIfAborted()
      const refusal = this.refusal()
      if (refusal !== null) throw refusal
      return this.transaction.run(call)
    })
  }

  /** Carries `work` out when everything before is over. */
  enqueue<T>(text: string, internal: boolean, work: () => Promise<T>): Promise<T> {
    const promise = this.#tail.then(work)
    const entry: Entry = { text, internal, promise }
    this.#unsettled.add(entry)
    const settled = promise.then(
      () => this.#settled(entry),
      () => this.#failed(entry),
    )
    this.#tail = settled
    return settled.then(() => promise)
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
    return this.enqueue(text, internal, async () => {
      if (this.transaction.owned) await this.transaction.ensureOpen(text)
      return this.session.send(text)
    })
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
