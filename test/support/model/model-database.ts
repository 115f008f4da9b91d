/**
 * What all sessions of the model share: the log of what was committed and how much of it is on the disk, the ids of
 * transactions, and who is connected.
 */
import type { ModelSession } from './model-session.js'

export interface CommittedTransaction {
  readonly id: number
  readonly rows: readonly number[]
  readonly receipts: readonly string[]
}

// Neither is to be taken for the number of a row.
const FIRST_ID = 1_000_000
const FIRST_PROCESS = 2_000_000

export class ModelDatabase {
  readonly sessions = new Set<ModelSession>()
  /** Grows where the server had to recover from a crash. */
  statsReset = 1
  readonly #log: CommittedTransaction[] = []
  /** How many entries of the log are on the disk. */
  #flushed = 0
  #nextID = FIRST_ID
  #nextProcess = FIRST_PROCESS

  /** What was committed and can be read, in the order of its commits. */
  get rows(): number[] {
    return this.#log.flatMap(({ rows }) => rows)
  }

  giveProcess(): number {
    return this.#nextProcess++
  }

  giveID(): number {
    return this.#nextID++
  }

  commit(transaction: CommittedTransaction, waitsForDisk: boolean): void {
    this.#log.push(transaction)
    if (waitsForDisk) this.#flushed = this.#log.length
  }

  /** No crash can undo it any more. */
  isDurable(row: number): boolean {
    return this.#log.slice(0, this.#flushed).some(({ rows }) => rows.includes(row))
  }

  /** What `pg_xact_status()` says; null where the id is yet to be given. */
  statusOf(id: number): 'in progress' | 'committed' | 'aborted' | null {
    if (id >= this.#nextID) return null
    if (this.#log.some((one) => one.id === id)) return 'committed'
    return [...this.sessions].some((session) => session.transactionID === id) ? 'in progress' : 'aborted'
  }

  /** Who has a receipt of this id: nobody, a transaction that is over, or one that is open. */
  receiptOf(id: string): 'none' | 'committed' | ModelSession {
    if (this.#log.some(({ receipts }) => receipts.includes(id))) return 'committed'
    return [...this.sessions].find((session) => session.hasReceipt(id)) ?? 'none'
  }

  /** All sessions end, and what is not on the disk is lost, unless it happened to be written in time. */
  crash(inTime: boolean): void {
    for (const session of this.sessions) session.kill()
    if (inTime) this.#flushed = this.#log.length
    this.#log.length = this.#flushed
    // The ids of what is lost are given again.
    this.#nextID = Math.max(FIRST_ID, ...this.#log.map(({ id }) => id + 1))
    this.statsReset++
  }
}
