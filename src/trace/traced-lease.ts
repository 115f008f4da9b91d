/** A lease that tells the tracing channels of its turn, its transactions and its statements. */
import { finish, HOLD } from '../diagnostics/channels.js'
import { followedBy, type StatementPlace, type StatementTracer } from './statement-tracer.js'
import { outcomeOf, TransactionTraces } from './transaction-traces.js'
import { classify, type Classified } from '../sql/classify.js'
import type { QueryResult } from 'pg'
import type { TransactionStatus } from '../api/connection.js'
import type {
  DriverSubmittable,
  Lease,
  Leaving,
  NestedTransaction,
  OutcomeWatch,
  RowSource,
} from '../api/ports.js'
import type { StatementCall } from '../api/statement.js'
import type { HoldContext } from '../api/tracing.js'

export class TracedLease implements Lease {
  readonly #lease: Lease
  readonly #hold: HoldContext
  readonly #tracer: StatementTracer
  readonly #transactions: TransactionTraces
  #isOver = false
  onRevoked: ((error: Error) => void) | null = null
  onOver: (() => void) | null = null

  constructor(lease: Lease, hold: HoldContext, tracer: StatementTracer) {
    this.#lease = lease
    this.#hold = hold
    this.#tracer = tracer
    this.#transactions = new TransactionTraces(hold)
    lease.onOver = () => {
      this.#end()
      this.onOver?.()
    }
    lease.onRevoked = (error) => {
      this.#transactions.endAll('rolled back', { error })
      this.#end({ error })
      this.onRevoked?.(error)
    }
  }

  get held(): boolean {
    return this.#lease.held
  }

  get owned(): boolean {
    return this.#lease.owned
  }

  get status(): TransactionStatus {
    return this.#lease.status
  }

  get processID(): number | null {
    return this.#lease.processID
  }

  get autocommit(): boolean {
    return this.#lease.autocommit
  }

  set autocommit(autocommit: boolean) {
    this.#lease.autocommit = autocommit
  }

  get idle(): boolean {
    return this.#lease.idle
  }

  get retrySafe(): boolean {
    return this.#lease.retrySafe
  }

  get revocation(): Error | null {
    return this.#lease.revocation
  }

  refusal(forEnding?: boolean): Error | null {
    return this.#lease.refusal(forEnding)
  }

  // ---- statements

  query(call: StatementCall, watch: OutcomeWatch | null): Promise<QueryResult> {
    this.#beforeStatement(call)
    if (!this.#tracer.wanted) return this.#lease.query(call, this.#followedBy(watch))
    const trace = this.#tracer.create([call], this.#place(call))
    trace.onOver = () => this.#afterStatement(trace.context.command)
    return trace.run(() => this.#lease.query(call, followedBy(watch, trace)))
  }

  /** Nobody wants to know of statements, but they tell what becomes of the transaction. */
  #followedBy(watch: OutcomeWatch | null): OutcomeWatch {
    const follow = async <T>(answered: Promise<T>): Promise<T> => {
      let command: string | null = null
      try {
        const result = await (watch === null ? answered : watch.follow(answered))
        command = (result as Partial<QueryResult>).command ?? null
        return result
      } finally {
        this.#afterStatement(command)
      }
    }
    return { follow }
  }

  #place({ label }: Pick<StatementCall, 'label'>): StatementPlace {
    return { label: label ?? this.#hold.label, hold: this.#hold, transaction: this.#transactions.current }
  }

  /** The library opens a transaction with it, unless its text does or needs none. */
  #beforeStatement({ text }: { readonly text: Pick<Classified, 'controls'> }): void {
    const opens = !this.#lease.autocommit && !text.controls
    if (opens && this.#transactions.current === null && !this.#isOver) this.#transactions.begin()
  }

  /** A text may have begun one, or ended it. */
  #afterStatement(command: string | null): void {
    const { status } = this.#lease
    if (status === 'idle') this.#transactions.endAll(command === 'COMMIT' ? 'committed' : 'rolled back')
    else if (status === 'intrans' && this.#transactions.current === null && !this.#isOver) {
      this.#transactions.begin()
    }
  }

  async submit(submittable: DriverSubmittable, refusal: Error | null): Promise<Error | null> {
    const text = String(submittable.text ?? submittable.cursor?.text ?? '')
    const facts = classify(text)
    if (refusal === null) this.#beforeStatement({ text: facts })
    const trace = this.#tracer.createFor(text, this.#place({ label: null }))
    const error = await trace.run(() => this.#lease.submit(submittable, refusal))
    // Whether the server has answered a COMMIT with ROLLBACK is told to the submittable alone.
    if (this.#lease.status === 'idle' && facts.mayCommit) this.#transactions.endAll('unknown')
    else this.#afterStatement(null)
    trace.end(error === null ? undefined : { error })
    return error
  }

  openRows(call: StatementCall, batchSize: number, refusal: () => Error | null): RowSource {
    this.#beforeStatement(call)
    const trace = this.#tracer.create([call], this.#place(call))
    const rows = trace.run(() => this.#lease.openRows(call, batchSize, refusal))
    let isOver = false
    const end = (failure?: { error: unknown }): void => {
      if (!isOver) trace.end(failure)
      isOver = true
    }
    return {
      read: async () => {
        try {
          return await rows.read()
        } catch (error) {
          end({ error })
          throw error
        }
      },
      close: async () => {
        await rows.close()
        end()
      },
    }
  }

  // ---- transactions

  async commit(): Promise<void> {
    try {
      await this.#lease.commit()
      this.#transactions.endAll('committed')
    } catch (error) {
      this.#transactions.endAll(outcomeOf(error), { error })
      throw error
    }
  }

  async rollback(): Promise<void> {
    try {
      await this.#lease.rollback()
    } finally {
      this.#transactions.endAll('rolled back')
    }
  }

  async nest(): Promise<NestedTransaction> {
    // A transaction of the library's begins with it, if nothing was sent before.
    if (this.owned && this.#transactions.current === null) this.#transactions.begin()
    const context = this.#transactions.begin()
    const end: TransactionTraces['end'] = this.#transactions.end.bind(this.#transactions)
    try {
      const nested = await this.#lease.nest()
      return {
        finish: async (leftNested) => {
          try {
            await nested.finish(leftNested)
            end(context, 'committed')
          } catch (error) {
            end(context, outcomeOf(error), { error })
            throw error
          }
        },
        abort: async () => {
          await nested.abort()
          end(context, 'rolled back')
        },
      }
    } catch (error) {
      end(context, 'rolled back', { error })
      throw error
    }
  }

  // ---- its end

  async release(leaving: Leaving): Promise<void> {
    try {
      await this.#lease.release(leaving)
      const isCommitted = leaving.left === 'returned' && this.owned
      const failure = leaving.left === 'threw' ? { error: leaving.error } : undefined
      this.#transactions.endAll(isCommitted ? 'committed' : 'rolled back', failure)
      this.#end(failure)
    } catch (error) {
      this.#transactions.endAll(outcomeOf(error), { error })
      this.#end({ error })
      throw error
    }
  }

  #end(failure?: { error: unknown }): void {
    if (!this.#isOver) finish(HOLD, this.#hold, failure)
    this.#isOver = true
  }

  abort(error: Error): void {
    this.#lease.abort(error)
  }

  drop(): Promise<void> | null {
    return this.#lease.drop()
  }
}
