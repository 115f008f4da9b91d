/**
 * The statements of one server connection that are prepared, or may be soon: by their text, from the second
 * use on, at most so many, the least recently used closed for a new one.
 *
 * A prepared statement keeps what its text meant when it was parsed: which table a name was, of which type a parameter
 * is, how a literal was read. So none is used for longer than its lifetime; all are dropped behind whatever may change
 * what a text means; and from there on, until the transaction is over whose end may take the change back, statements
 * are sent without a name.
 */
import { randomBytes } from 'node:crypto'
import type { FieldDef } from 'pg'
import { now } from '../util/clock.js'

/** Longer texts are sent each time: they are rarely the same twice, and a name for them holds memory. */
const LONGEST_TEXT = 16 * 1024

/** One prepared statement. */
export interface PreparedStatement {
  /** Its text, and what that means. */
  readonly key: string
  readonly name: string
  /**
   * - `new`: not parsed yet; its Parse goes with the next use.
   * - `parsing`: a Parse is under way; others use the unnamed statement meanwhile.
   * - `ready`: the server has it.
   * - `gone`: closed, forgotten or failed; never used again.
   */
  state: 'new' | 'parsing' | 'ready' | 'gone'
  /** The columns of its rows, once described; null where it gives none. */
  fields: FieldDef[] | null | undefined
  /** The row of nulls that pg copies for each row of these columns. */
  emptyRow: Record<string, null> | null
  lastUse: number
  /** When its Parse was sent, on the clock of `now()`. */
  parsedAt: number
}

/** What bounds prepared statements. */
export interface PreparedLimits {
  /** How many; 0 = none. */
  readonly max: number
  /** For how long one is used before its text is parsed anew, in milliseconds. */
  readonly lifetimeMillis: number
}

export class PreparedStatements {
  readonly #limits: PreparedLimits
  /**
   * Of the names. No other backend's is the same: behind a pooler that hands its server connections around, a name that
   * another had prepared would run its statement in place of ours.
   */
  readonly #prefix = `pgmc_${randomBytes(6).toString('hex')}`
  readonly #prepared = new Map<string, PreparedStatement>()
  /** Texts seen once, oldest first. */
  readonly #seen = new Set<string>()
  /** Names that the server may still have and that are to be closed with the next statement. */
  #toClose: string[] = []
  #clock = 0
  #names = 0
  /** Texts may mean something else until the transaction is over: they are sent without a name. */
  #suspended = false
  /** Something may have changed what texts mean since the backend was last reset. */
  #touched = false

  constructor(limits: PreparedLimits) {
    this.#limits = limits
  }

  /** How many statements are prepared. */
  get size(): number {
    return this.#prepared.size
  }

  /**
   * The prepared statement to use for `text` now; null to send it unnamed.
   *
   * @param meaning what texts mean where it is run: those that may mean different things are kept apart
   */
  use(text: string, meaning = ''): PreparedStatement | null {
    if (this.#limits.max === 0 || this.#suspended || text.length > LONGEST_TEXT) return null
    // No text has a NUL in it.
    const key = meaning === '' ? text : `${meaning}\0${text}`
    const known = this.#prepared.get(key)
    if (known === undefined) return this.#seen.delete(key) ? this.#add(key) : this.#see(key)
    known.lastUse = ++this.#clock
    if (known.state === 'parsing') return null
    if (known.state === 'new' || now() - known.parsedAt < this.#limits.lifetimeMillis) return known
    this.forget(known)
    return this.#add(key)
  }

  #see(key: string): null {
    if (this.#seen.size >= this.#limits.max) this.#seen.delete(this.#seen.values().next().value!)
    this.#seen.add(key)
    return null
  }

  #add(key: string): PreparedStatement | null {
    if (this.#prepared.size >= this.#limits.max && !this.#evict()) return null
    const name = `${this.#prefix}_${++this.#names}`
    const statement: PreparedStatement = {
      key,
      name,
      state: 'new',
      fields: undefined,
      emptyRow: null,
      lastUse: ++this.#clock,
      parsedAt: now(),
    }
    this.#prepared.set(key, statement)
    return statement
  }

  /** Closes the least recently used one. One that is being parsed stays: its name is on its way. */
  #evict(): boolean {
    let oldest: PreparedStatement | null = null
    for (const statement of this.#prepared.values()) {
      if (statement.state !== 'ready') continue
      if (oldest === null || statement.lastUse < oldest.lastUse) oldest = statement
    }
    if (oldest === null) return false
    this.forget(oldest)
    return true
  }

  /** Drops one: it failed, or the server says it has changed. What the server may have of it is closed. */
  forget(statement: PreparedStatement): void {
    if (statement.state === 'gone') return
    if (statement.state !== 'new') this.#toClose.push(statement.name)
    statement.state = 'gone'
    this.#prepared.delete(statement.key)
  }

  /**
   * Texts may mean something else from here on: all that is prepared, or is being parsed, is dropped, and nothing is
   * prepared until `resume()`.
   */
  suspend(): void {
    this.#touched = true
    this.#suspended = true
    this.#retireAll()
  }

  /** Whatever was changed holds for the backend by now, or was taken back. */
  resume(): void {
    this.#suspended = false
  }

  /** The backend is brought back to what it was at first: what was parsed under another state is dropped. */
  reset(): void {
    if (this.#touched) this.#retireAll()
    this.#touched = false
    this.#suspended = false
  }

  /** Drops all. Their texts are used often: each is prepared again when it is used next. */
  #retireAll(): void {
    for (const statement of [...this.#prepared.values()]) {
      this.forget(statement)
      this.#see(statement.key)
    }
  }

  /** The names to close with the next statement. */
  takeClosing(): readonly string[] {
    const names = this.#toClose
    if (names.length > 0) this.#toClose = []
    return names
  }
}
