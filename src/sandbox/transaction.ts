/** What is known of the transaction of one turn in a sandbox, which is a savepoint there. */
import { TransactionEndedError } from '../errors.js'
import { isError, isFromServer } from '../util/thrown.js'
import { sqlState } from '../lease/failures.js'
import { chainsError } from '../lease/lease-settings.js'
import { classify } from '../sql/classify.js'
import { localCommands, type TurnSettings } from '../sql/turn-settings.js'
import { SandboxError } from './error.js'
import { settingsIn, temporaryTableIn } from './set-texts.js'
import {
  accessIn,
  blockOnly,
  checkIsolation,
  readControl,
  setsTransaction,
  splitStatements,
} from './texts.js'
import type { QueryResult } from 'pg'
import type { LeaseTerms } from '../api/ports.js'
import type { StatementCall } from '../api/statement.js'
import type { SandboxSession } from './session.js'
import type { Control } from './texts.js'

/** What may make functions with settings of their own. */
const MAKES_FUNCTIONS = /\b(?:FUNCTION|PROCEDURE|EXTENSION)\b/i

/**
 * States, in `#state`: none is open (`null`), one for a single text alone (`implicit`), or one that stays open until
 * it is ended (`explicit`).
 */
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
  #state: 'implicit' | 'explicit' | null = null
  /** It may have done more than read. */
  #mayChange = false
  readonly #locals = new Map<string, string>()
  readonly #sessionSet = new Set<string>()
  readonly #settings: TurnSettings | null

  constructor({ begin, autocommit, owned, settings }: LeaseTerms, session: SandboxSession) {
    this.#settings = settings
    this.begin = begin
    this.autocommit = autocommit
    this.#owned = owned
    this.#session = session
  }

  get open(): boolean {
    return this.#state !== null
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
    await this.#open('explicit')
    this.openedBy = text
    const access = accessIn(modes)
    if (access !== null) await this.#session.send(`SET TRANSACTION ${access}`)
    await this.#set()
  }

  async #open(state: 'implicit' | 'explicit'): Promise<void> {
    this.#savepoint = await this.#session.savepoint()
    this.#state = state
  }

  /** Sets what the turn is to have. */
  async #set(): Promise<void> {
    const settings = this.#settings
    if (settings === null) return
    this.#mayChange = true
    await this.#session.settings.know(settings.values.map(([name]) => name))
    for (const command of localCommands(settings)) await this.#session.send(command)
  }

  /** Runs a text of the user's. */
  async run(call: StatementCall): Promise<QueryResult> {
    const { text } = call.statement
    if (this.#settings !== null && call.text.chains) throw chainsError(text)
    if (!call.text.controls) return this.#within(text, () => this.#statement(call, false))
    if (this.#owned || !this.autocommit) {
      if (!call.text.ends) await this.ensureOpen(text, call.text.begins ? undefined : this.begin)
    }
    if (call.text.kind === 'control') return this.#guarded(() => this.#control(readControl(text), text))
    return this.#guarded(() => this.#parts(call))
  }

  /** A command about the savepoint of a nested transaction. */
  async nest(text: string): Promise<unknown> {
    if (this.#owned) await this.ensureOpen(text)
    return this.#guarded(() => this.#session.send(text))
  }

  /** Each statement of a text, as far as they go. What no BEGIN stands before is a transaction together. */
  async #parts(call: StatementCall): Promise<QueryResult> {
    const whole = call.statement.text
    const results: QueryResult[] = []
    for (const text of splitStatements(whole)) {
      const facts = classify(text)
      if (!facts.begins) await this.#ensureImplicit()
      const part = { ...call, text: facts, statement: { ...call.statement, text } }
      results.push(
        await (facts.controls ? this.#control(readControl(text), whole) : this.#statement(part, true)),
      )
    }
    return results as unknown as QueryResult
  }

  /** The same for what speaks to the connection itself, and gives its error instead of throwing it. */
  async around(text: string, work: () => Promise<Error | null>): Promise<Error | null> {
    let failure: Error | null = null
    this.#mayChange = true
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
    return this.#guarded(async () => {
      await this.#ensureImplicit()
      return work()
    })
  }

  async #ensureImplicit(): Promise<void> {
    if (this.open) return
    await this.#open('implicit')
    await this.#set()
  }

  /** Ends what was opened for `work` alone, and notes an error that makes the open transaction fail. */
  async #guarded<T>(work: () => Promise<T>): Promise<T> {
    let result: T
    try {
      result = await work()
    } catch (error) {
      if (this.#state === 'implicit') await this.rollBack()
      else if (this.open && isError(error) && isFromServer(error)) this.swallowed ??= error
      throw error
    }
    if (this.#state === 'implicit') await this.commit()
    else if (this.open && this.#session.base.status === 'intrans') this.swallowed = null
    return result
  }

  async #statement(call: StatementCall, isPart: boolean): Promise<QueryResult> {
    const { text, values } = call.statement
    const uncertain = call.text.kind === 'several' && call.text.mayEnd
    if (/^\s*LISTEN\b/i.test(text)) throw listenRefusal()
    if (!call.text.reads) this.#mayChange = true
    if (this.#state === 'implicit' && !isPart) {
      const refused = blockOnly(text)
      if (refused !== null) return this.#session.refuseOutside(refused)
    }
    const modes = setsTransaction(text)
    if (modes !== null) return this.#setTransaction(modes)
    await this.#noteSettings(text, values ?? [])
    let result: QueryResult
    try {
      // The extended protocol takes one statement only: what the reader cannot tell apart must not hide a COMMIT.
      result = await this.#session.base.query(uncertain ? { ...call, extended: true } : call, null)
    } catch (error) {
      const code = sqlState(error)
      const needsNone = code === '25001' || code === '2D000'
      if (this.#state !== 'implicit' || !needsNone) throw error
      throw new SandboxError('a sandbox is one transaction, in which this statement cannot be run', error)
    }
    if (this.#mayChange) await this.#noteMade(text)
    return result
  }

  /** The isolation is the sandbox's own. */
  async #setTransaction(modes: string): Promise<QueryResult> {
    checkIsolation(modes, this.#session.isolationLevel)
    const access = accessIn(modes)
    // In a failed transaction the server says so.
    return this.#session.send(access === null ? 'SET CONSTRAINTS ALL DEFERRED' : `SET TRANSACTION ${access}`)
  }

  /** A savepoint that is released keeps what SET LOCAL has set, so it is noted what was there before. */
  async #noteSettings(text: string, values: readonly unknown[]): Promise<void> {
    if (!/\bSET|\bset_config|\bRESET/i.test(text)) return
    const { settings } = this.#session
    if (this.#session.base.status === 'inerror') return
    for (const { name, session } of settingsIn(text, values)) {
      await settings.know([name])
      if (session) {
        this.#sessionSet.add(name)
        this.#locals.delete(name)
      } else if (this.#sessionSet.has(name) && !this.#locals.has(name)) {
        this.#locals.set(name, await settings.valueOf(name))
      }
    }
  }

  /** What it has made that a COMMIT has to know of. */
  async #noteMade(text: string): Promise<void> {
    if (/\bON\s+COMMIT\b/i.test(text)) {
      for (const statement of splitStatements(text)) {
        const table = temporaryTableIn(statement)
        if (table !== null) await this.#session.noteTable(table)
      }
    }
    if (MAKES_FUNCTIONS.test(text)) await this.#session.settings.noteFunctions()
  }

  async #control({ verb, modes, chain, statement, tag }: Control, text: string): Promise<QueryResult> {
    if (verb === 'begin') {
      checkIsolation(modes, this.#session.isolationLevel)
      if (this.#state === 'implicit') {
        this.#state = 'explicit'
        this.openedBy = text
      } else await this.ensureOpen(text, modes)
      return tagged(tag)
    }
    if ((verb === 'savepoint' || chain) && this.#state !== 'explicit') {
      await this.#ensureImplicit()
      return this.#session.refuseOutside(statement)
    }
    if (verb === 'savepoint') return this.#session.send(text)
    if (!this.open) return tagged(tag)
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
    const changes = { session: new Set(this.#sessionSet), locals: new Map(this.#locals) }
    const mayChange = this.#mayChange
    this.#close()
    const committed = await this.#session.commit(name, mayChange ? changes : null)
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
    this.#state = null
    this.#mayChange = false
    this.#locals.clear()
    this.#sessionSet.clear()
  }
}

function tagged(command: string): QueryResult {
  return { command, rowCount: null, oid: 0, rows: [], fields: [] }
}

export function listenRefusal(): SandboxError {
  return new SandboxError('LISTEN takes effect when it is committed, and nothing in a sandbox ever is')
}
