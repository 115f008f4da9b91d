/**
 * The statements of one server connection that are prepared, or may be soon: by their text, from the second
 * use on, at most so many, the least recently used closed for a new one.
 */
import { randomBytes } from 'node:crypto'
import type { FieldDef } from 'pg'

/** Longer texts are sent each time: they are rarely the same twice, and a name for them holds memory. */
const LONGEST_TEXT = 16 * 1024

/** One prepared statement. */
export interface PreparedStatement {
  readonly text: string
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
}

export class PreparedStatements {
  readonly #max: number
  readonly #prefix: string
  readonly #prepared = new Map<string, PreparedStatement>()
  /** Texts seen once, oldest first. */
  readonly #seen = new Set<string>()
  /** Names that the server may still have and that are to be closed with the next statement. */
  #toClose: string[] = []
  #clock = 0
  #names = 0

  /**
   * @param prefix of the names. No other session's may be the same: behind a pooler that hands its server connections
   * around, a name that another had prepared would run its statement in place of ours.
   */
  constructor(max: number, prefix = `pgmc_${randomBytes(6).toString('hex')}`) {
    this.#max = max
    this.#prefix = prefix
  }

  /** How many statements are prepared. */
  get size(): number {
    return this.#prepared.size
  }

  /** The prepared statement to use for `text` now; null to send it unnamed. */
  use(text: string): PreparedStatement | null {
    if (this.#max === 0 || text.length > LONGEST_TEXT) return null
    const known = this.#prepared.get(text)
    if (known !== undefined) {
      known.lastUse = ++this.#clock
      return known.state === 'parsing' ? null : known
    }
    return this.#seen.delete(text) ? this.#add(text) : this.#see(text)
  }

  #see(text: string): null {
    if (this.#seen.size >= this.#max) this.#seen.delete(this.#seen.values().next().value!)
    this.#seen.add(text)
    return null
  }

  #add(text: string): PreparedStatement | null {
    if (this.#prepared.size >= this.#max && !this.#evict()) return null
    const name = `${this.#prefix}_${++this.#names}`
    const statement: PreparedStatement = {
      text,
      name,
      state: 'new',
      fields: undefined,
      emptyRow: null,
      lastUse: ++this.#clock,
    }
    this.#prepared.set(text, statement)
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
    this.#prepared.delete(statement.text)
  }

  /** Drops all: what they give may be something else by now, and then the server refuses them. */
  retireAll(): void {
    for (const statement of [...this.#prepared.values()]) this.forget(statement)
  }

  /** Drops all without closing them: DEALLOCATE ALL or DISCARD ALL has done so. */
  forgetAll(): void {
    for (const statement of this.#prepared.values()) statement.state = 'gone'
    this.#prepared.clear()
    this.#toClose = []
  }

  /** The names to close with the next statement. */
  takeClosing(): readonly string[] {
    if (this.#toClose.length === 0) return NONE
    const names = this.#toClose
    this.#toClose = []
    return names
  }
}

const NONE: readonly string[] = []
