/** Keeps what callers were told about each row that they wrote, to compare it with what the table holds. */
import { ConnectionLostError, HoldTimeoutError, StatementTimeoutError } from 'pg-managed-connection'

/** What is known of a row. */
export type Fate =
  /** Written, and nobody has said yet what became of it. */
  | 'pending'
  /** It must be stored exactly once. */
  | 'confirmed'
  /** It must not be stored. */
  | 'refused'
  /** It may be stored once, or not. */
  | 'unknown'

/** What became of a row whose caller was told that its statement, or its COMMIT, failed. */
export function fateOfFailure(error: unknown): Fate {
  if (error instanceof ConnectionLostError) return error.commitOutcome === 'none' ? 'refused' : 'unknown'
  if (error instanceof StatementTimeoutError) return error.cause === undefined ? 'unknown' : 'refused'
  if (error === 'aborted' || error instanceof HoldTimeoutError) return 'unknown'
  return 'refused'
}

export class Ledger {
  readonly #fates = new Map<number, Fate>()
  readonly #stories = new Map<number, string[]>()
  #next = 1

  /** A number for a new row. */
  issue(story: string): number {
    const id = this.#next++
    this.#fates.set(id, 'pending')
    this.#stories.set(id, [story])
    return id
  }

  fateOf(id: number): Fate {
    return this.#fates.get(id) ?? 'pending'
  }

  /** Every row that was issued, and what is known of it. */
  get fates(): ReadonlyMap<number, Fate> {
    return this.#fates
  }

  /** Settles a row that is pending; what was said first stands. */
  settle(id: number, fate: Fate, why: string): void {
    this.#stories.get(id)?.push(`${fate}: ${why}`)
    if (this.fateOf(id) === 'pending') this.#fates.set(id, fate)
  }

  /** Nothing of these can have been stored, somebody says: whatever else was said must agree. */
  forbid(ids: readonly number[], why: string): void {
    for (const id of ids) {
      this.#stories.get(id)?.push(`forbidden: ${why}`)
      this.#fates.set(id, 'refused')
    }
  }

  count(fate: Fate): number {
    return [...this.#fates.values()].filter((one) => one === fate).length
  }

  /** Where the table disagrees, a sentence each. */
  compare(stored: readonly number[]): string[] {
    const times = new Map<number, number>()
    for (const id of stored) times.set(id, (times.get(id) ?? 0) + 1)
    const wrong: string[] = []
    for (const [id, fate] of this.#fates) {
      const found = times.get(id) ?? 0
      const right =
        fate === 'confirmed'
          ? found === 1
          : fate === 'refused'
            ? found === 0
            : fate === 'unknown' && found <= 1
      if (!right)
        wrong.push(`row ${id} is ${fate} and stored ${found} times: ${this.#stories.get(id)?.join(' | ')}`)
    }
    return wrong
  }
}
