/** Transactions inside of a lease: BEGIN…COMMIT where nothing is open, else SAVEPOINT…RELEASE. */
import { randomBytes } from 'node:crypto'
import { CommitRolledBackError, UnfinishedStatementError } from '../errors.js'
import { drain } from './drain.js'
import { sqlState } from './failures.js'
import type { NestedTransaction } from '../api/ports.js'
import type { BaseLease } from './base-lease.js'

/** What stands for a nested transaction among the texts of unfinished statements. */
export const NESTED = '(a nested transaction)'

/** Begins one, once it is certain whether a transaction is open: everything before is answered then. */
export async function openNested(lease: BaseLease): Promise<NestedTransaction> {
  const { requests } = lease
  if (requests.outstanding > 0) await requests.quiet()
  throwRefusal(lease)
  lease.nested++
  return lease.owned || requests.transaction.open ? new Savepoint(lease) : new OwnTransaction(lease)
}

function throwRefusal(lease: BaseLease): void {
  const refusal = lease.refusal()
  if (refusal !== null) throw refusal
}

abstract class Nested implements NestedTransaction {
  protected readonly lease: BaseLease

  constructor(lease: BaseLease) {
    this.lease = lease
  }

  async finish(leftNested: boolean): Promise<void> {
    try {
      const unfinished = await this.#settleDown()
      if (leftNested) unfinished.push(NESTED)
      await this.commit(unfinished.length > 0 ? unfinished : null)
    } finally {
      this.lease.nested--
    }
  }

  async abort(): Promise<void> {
    try {
      await this.#settleDown()
      await this.rollBack()
    } finally {
      this.lease.nested--
    }
  }

  /** What its work left in flight is answered first. Gives the texts of that. */
  async #settleDown(): Promise<string[]> {
    const { requests } = this.lease
    if (requests.outstanding === 0) return []
    const unfinished = requests.takeUnfinished()
    await drain(this.lease)
    return unfinished
  }

  /** Nothing is committed where there are texts of `unfinished` statements. */
  protected abstract commit(unfinished: readonly string[] | null): Promise<void>
  protected abstract rollBack(): Promise<void>
}

class OwnTransaction extends Nested {
  constructor(lease: BaseLease) {
    super(lease)
    lease.requests.transaction.owned = true
  }

  protected override async commit(unfinished: readonly string[] | null): Promise<void> {
    const { lease } = this
    try {
      if (unfinished !== null)
        throw new UnfinishedStatementError({ statements: unfinished, retrySafe: lease.retrySafe })
      throwRefusal(lease)
      await lease.commit()
    } catch (error) {
      await this.rollBack()
      throw error
    } finally {
      lease.requests.transaction.owned = false
    }
  }

  protected override async rollBack(): Promise<void> {
    const { lease } = this
    // A rollback that fails loses the backend, which the next statement reports. The first error is thrown.
    if (lease.held) await lease.requests.end('ROLLBACK')?.catch(() => {})
    lease.requests.transaction.owned = false
  }
}

/** Random, so that names of the user's savepoints and of ours cannot clash. */
const PREFIX = `pgmc_${randomBytes(6).toString('hex')}`

let savepoints = 0

/** invalid_savepoint_specification: there is none of that name. */
const NO_SAVEPOINT = '3B001'

class Savepoint extends Nested {
  readonly #name = `${PREFIX}_${(savepoints = (savepoints + 1) % Number.MAX_SAFE_INTEGER)}`
  readonly #begun: Promise<unknown>

  constructor(lease: BaseLease) {
    super(lease)
    // Not waited for: it goes out with the first statement, and both fail alike in a failed transaction.
    this.#begun = this.#control('SAVEPOINT')
    this.#begun.catch(() => {})
  }

  #control(verb: string, kind: 'statement' | 'rollback' = 'statement'): Promise<unknown> {
    return this.lease.requests.control(`${verb} ${this.#name}`, kind, false, true)
  }

  protected override async commit(statements: readonly string[] | null): Promise<void> {
    const { lease } = this
    await this.#begun
    throwRefusal(lease)
    const { serverState, transaction } = lease.requests
    if (statements === null && serverState === 'intrans') return this.#release()
    if (statements === null && serverState === 'idle') throw transaction.endedError()
    const cause = transaction.swallowed ?? undefined
    await this.rollBack()
    const { retrySafe } = lease
    throw statements === null
      ? new CommitRolledBackError({ retrySafe, cause })
      : new UnfinishedStatementError({ statements, retrySafe, cause })
  }

  async #release(): Promise<void> {
    try {
      await this.#control('RELEASE SAVEPOINT')
    } catch (error) {
      // Released or ended by user text, and perhaps another transaction is open now.
      throw sqlState(error) === NO_SAVEPOINT ? this.lease.requests.transaction.endedError(error) : error
    }
  }

  protected override async rollBack(): Promise<void> {
    const { lease } = this
    if (lease.refusal() !== null || !lease.requests.transaction.open) return
    try {
      await this.#begun
      // Both at once: a savepoint that is rolled back to is still there.
      await Promise.all([this.#control('ROLLBACK TO SAVEPOINT', 'rollback'), this.#release()])
    } catch {
      // The transaction around it has failed or is gone, and its own end reports that. The first error is thrown.
    }
  }
}
