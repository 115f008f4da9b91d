/** What is known of the transaction of one turn in a sandbox, which is a savepoint there. */
import { TransactionEndedError } from '../errors.js'
import { isError, isFromServer } from '../util/thrown.js'
import { sqlState } from '../lease/failures.js'
import { chainsError } from '../lease/lease-settings.js'
import { localCommands, type TurnSettings } from '../sql/turn-settings.js'
import { SandboxError } from './error.js'
import { checkIsolation, readControl, splitStatements, type Control } from './texts.js'
import type { QueryResult } from 'pg'
import type { LeaseTerms } from '../api/ports.js'
import type { StatementCall } from '../api/statement.js'
import { classify } from '../sql/classify.js'
import type { SandboxSession } from './session.js'

const SET_LOCAL = /\bSET\s+LOCAL\s+([A-Za-z_][\w.]*)|\bset_config\s*\(\s*'([^']+)'/gi

export class SandboxTransaction {
  readonly begin: string
  autocommit: boolean
  openedBy: string | null = null
  swallowed: Error | null = null
  mayHaveCommitted = false
  readonly #session: SandboxSession
  #owned: boolean
  #endedBy: string | null = null
  #savepoint: string | null = null
  #implicit = false
  readonly #locals = new Map<string, string>()
  readonly #settings: TurnSettings | null

  constructor({ begin, autocommit, owned, settings }: LeaseTerms, session: SandboxSession) {
    this.#settings = settings
    this.begin = begin
    this.autocommit = autocommit
    this.#owned = owned
    this.#session = session
  }

  get open(): boolean {
    return this.#savepoint !== null
  }

  get owned(): boolean {
    return this.#owned
  }

  set owned(owned: boolean) {
    this.#owned = owned
    this.#endedBy = null
  }

  get endedByText(): boolean {
    return this.#owned && this.#endedBy !== null
  }

  endedError(cause: unknown = this.swallowed ?? undefined): TransactionEndedError {
    return new TransactionEndedError({ statement: this.#endedBy, retrySafe: false, cause })
  }

  async ensureOpen(text: string, modes = this.begin): Promise<void> {
    if (this.open) return
    checkIsolation(modes, this.#session.isolationLevel)
    this.#savepoint = await this.#session.savepoint()
    this.#implicit = false
    this.openedBy = text
    const access = /READ (?:ONLY|WRITE)/i.exec(modes)
    if (access !== null) await this.#session.send(`SET TRANSACTION ${access[0]}`)
    await this.#set()
  }

  /** Sets what the turn is to have, and remembers what was there. */
  async #set(): Promise<void> {
    const settings = this.#settings
    if (settings === null) return
    const names = settings.values.map(([name]) => name)
    if (settings.role !== null) names.push('role')
    for (const name of names) this.#locals.set(name, await this.#session.settingOf(name))
    for (const command of localCommands(settings)) await this.#session.send(command)
  }

  /** Runs a text of the user's. */
  async run(call: StatementCall): Promise<QueryResult> {
    const { text } = call.statement
    if (this.#settings !== null && call.text.chains) throw chainsError(text)
    if (!call.text.controls) return this.#within(text, () => this.#statement(call))
    if (call.text.kind === 'control') return this.#control(readControl(text), text)
    const parts = splitStatements(text)
    const results = await this.#within(text, async () => {
      const all: QueryResult[] = []
      for (const part of parts) all.push(await this.#part(call, part, text))
      return all
    })
    return results as unknown as QueryResult
  }

  #part(call: StatementCall, part: string, whole: string): Promise<QueryResult> {
    const facts = classify(part)
    if (facts.controls) return this.#control(readControl(part), whole)
    return this.#statement({ ...call, text: facts, statement: { ...call.statement, text: part } })
  }

  /** The same for what speaks to the connection itself, and gives its error instead of throwing it. */
  async around(text: string, work: () => Promise<Error | null>): Promise<Error | null> {
    let failure: Error | null = null
    await this.#within(text, async () => {
      failure = await work()
      if (failure !== null) throw failure
    }).catch((error: unknown) => {
      if (error !== failure) throw error
    })
    return failure
  }

  /** Runs `work` in the open transaction, or in one of its own. */
  async #within<T>(text: string, work: () => Promise<T>): Promise<T> {
    if (this.#owned || !this.autocommit) await this.ensureOpen(text)
    else if (!this.open) {
      this.#savepoint = await this.#session.savepoint()
      this.#implicit = true
    }
    let result: T
    try {
      if (this.#implicit) await this.#set()
      result = await work()
    } catch (error) {
      if (this.#implicit) await this.rollBack()
      else if (this.open && isError(error) && isFromServer(error)) this.swallowed ??= error
      throw error
    }
    if (this.#implicit && this.open) await this.commit()
    return result
  }

  async #statement(call: StatementCall): Promise<QueryResult> {
    const { text } = call.statement
    const uncertain = call.text.kind === 'several' && call.text.mayEnd
    if (/^\s*LISTEN\b/i.test(text)) throw listenRefusal()
    await this.#noteLocals(text)
    try {
      // The extended protocol takes one statement only: what the reader cannot tell apart must not hide a COMMIT.
      return await this.#session.base.query(uncertain ? { ...call, extended: true } : call, null)
    } catch (error) {
      const code = sqlState(error)
      const needsNone = code === '25001' || code === '2D000'
      if (!this.#implicit || !needsNone) throw error
      throw new SandboxError('a sandbox is one transaction, in which this statement cannot be run', error)
    }
  }

  /** A savepoint that is released keeps what SET LOCAL has set, so the value before is remembered. */
  async #noteLocals(text: string): Promise<void> {
    for (const [, set, config] of text.matchAll(SET_LOCAL)) {
      const name = (set ?? config ?? '').toLowerCase()
      if (name === 'transaction' || name === 'session' || name === 'time' || this.#locals.has(name)) continue
      this.#locals.set(name, await this.#session.settingOf(name))
    }
  }

  async #control({ verb, modes, chain }: Control, text: string): Promise<QueryResult> {
    if (verb === 'savepoint') {
      if (!this.open) await this.ensureOpen(text)
      return this.#session.send(text)
    }
    if (verb === 'begin') {
      checkIsolation(modes, this.#session.isolationLevel)
      if (this.open) this.#implicit = false
      else await this.ensureOpen(text, modes)
      this.openedBy ??= text
      return tagged('BEGIN')
    }
    if (!this.open) return tagged(verb.toUpperCase())
    this.#endedBy = text
    let committed = false
    if (verb === 'commit') committed = await this.commit()
    else await this.rollBack()
    if (chain) await this.ensureOpen(text)
    return tagged(committed ? 'COMMIT' : 'ROLLBACK')
  }

  /** False where the transaction had failed. */
  async commit(): Promise<boolean> {
    const name = this.#savepoint!
    const locals = new Map(this.#locals)
    this.#close()
    const committed = await this.#session.commit(name, locals)
    if (committed) this.mayHaveCommitted = true
    return committed
  }

  async rollBack(): Promise<void> {
    const name = this.#savepoint
    this.#close()
    if (name !== null) await this.#session.rollBack(name)
  }

  #close(): void {
    this.#savepoint = null
    this.#implicit = false
    this.#locals.clear()
  }
}

function tagged(command: string): QueryResult {
  return { command, rowCount: null, oid: 0, rows: [], fields: [] }
}

export function listenRefusal(): SandboxError {
  return new SandboxError('LISTEN takes effect when it is committed, and nothing in a sandbox ever is')
}
