/**
 * One schedule: the real manager, over pg, over links whose every event is chosen; tasks that make one step when
 * they are chosen; and what must hold whatever is chosen.
 */
import { ConnectionLostError, ManagedConnection, type ConnectionParameters } from 'pg-managed-connection'
import { Ledger } from '../ledger.js'
import type { WireMessage } from '../wire.js'
import { TraceHash, type Choice, type Chooser } from './choices.js'
import { ModelLink, type LinkWatch } from './model-link.js'
import { ModelDatabase } from './model-database.js'
import { readBind, type ModelSession } from './model-session.js'
import type { Program } from './programs.js'
import { ModelTask } from './task.js'
import type { VirtualTime } from './virtual-time.js'

/** More events than any schedule needs: one that takes more goes round in circles. */
const MOST_EVENTS = 3_000

/** A row's statement on its way: on which link, and behind which of its BEGINs. */
interface Sending {
  readonly link: ModelLink
  readonly begin: number
}

/** What is known of one who was told of a loss. */
export interface LossFacts {
  /** How many deaths the library knew of when it asked. */
  readonly knownBefore: number
  /** Its rows that commit by themselves. */
  readonly unsafe: readonly number[]
  /** It may have given up itself. */
  readonly mayGiveUp: boolean
  /** The library finds out what became of its COMMIT. */
  readonly isVerified: boolean
}

export class World implements LinkWatch {
  readonly program: Program
  readonly manager: ManagedConnection
  readonly ledger = new Ledger()
  readonly wrong: string[] = []
  /** What happened, in order. */
  readonly trace: string[] = []
  readonly hash = new TraceHash()
  readonly #time: VirtualTime
  readonly #chooser: Chooser
  readonly #database = new ModelDatabase()
  readonly #links: ModelLink[] = []
  readonly #tasks: ModelTask[]
  readonly #sendings = new Map<number, Sending[]>()
  readonly #commitsSentFor = new Set<string>()
  readonly #lastOwner = new Map<ModelLink, string>()
  readonly #begins = new Map<ModelLink, number>()
  readonly #ends = new Map<ModelLink, number>()
  readonly #owners = new Map<number, string>()
  readonly #dead = new Set<ModelLink>()
  #deaths: number
  #refusals: number
  /** How many deaths there were so far. */
  died = 0
  refused = 0
  crashed = 0
  #slow: number
  #crashes: number
  readonly #busy = new Set<ModelLink>()
  #asked = 0
  #lastServed = 0
  #holder: string | null = null
  #ending = false

  constructor(program: Program, chooser: Chooser, time: VirtualTime) {
    this.program = program
    this.#chooser = chooser
    this.#time = time
    this.#deaths = program.deaths
    this.#refusals = program.refusals
    this.#slow = program.slow ?? 0
    this.#crashes = program.crashes ?? 0
    const conninfo: ConnectionParameters = {
      host: 'model',
      user: 'model',
      dbname: 'model',
      sslmode: 'disable',
      stream: () => this.#dial(),
    } as ConnectionParameters
    this.manager = new ManagedConnection(conninfo, program.options)
    this.manager.on('error', (error) => this.wrong.push(`an error event: ${error.message}`))
    this.#tasks = program.tasks.map((calls, index) => new ModelTask(this, `t${index}`, calls))
  }

  #dial(): ModelLink {
    if (this.#links.some(({ state }) => state !== 'closed')) this.wrong.push('two connections at a time')
    const link = new ModelLink(this.#database, this)
    this.#links.push(link)
    return link
  }

  /** Lets everything happen, and says what was wrong. */
  async run(): Promise<string[]> {
    const working = Promise.all(this.#tasks.map((task) => task.run()))
    let over = false
    void working.then(() => (over = true))
    await this.#drive(() => over, 'every promise to settle')
    const { stats } = this.manager
    // One whose time was up has its answer before its session is tidied up.
    if (stats.waiting > 0 || (stats.held && (this.program.options.maxHoldMillis ?? 0) === 0))
      this.wrong.push(`somebody is left: ${JSON.stringify(stats)}`)
    await this.#end()
    for (const link of this.#links) while (link.waiting) link.serve(false)
    this.wrong.push(...this.ledger.compare(this.#database.rows))
    return this.wrong
  }

  async #end(): Promise<void> {
    this.#ending = true
    let ended = false
    void this.manager.end({ timeoutMillis: 5_000 }).then(() => (ended = true))
    await this.#drive(() => ended, 'end()')
    if (this.#links.some(({ state }) => state !== 'closed')) this.wrong.push('end() left a connection open')
  }

  async #drive(over: () => boolean, what: string): Promise<void> {
    for (let events = 0; ; events++) {
      await quiescence()
      if (over()) return
      const choices = this.#choices()
      if (choices.length === 0 || events > MOST_EVENTS) {
        this.wrong.push(`waited for ever for ${what}: ${JSON.stringify(this.manager.stats)}`)
        return
      }
      const choice = this.#ending ? choices[0]! : this.#chooser.pick(choices)
      this.note(choice.name)
      choice.happen()
    }
  }

  note(event: string): void {
    this.trace.push(event)
    this.hash.add(event)
  }

  /** What may happen now; what would happen of itself comes first. */
  #choices(): Choice[] {
    const choices: Choice[] = []
    for (const link of this.#links) this.#choicesOf(link, choices)
    for (const task of this.#tasks)
      if (task.ready) choices.push({ name: task.name, weight: 8, happen: () => task.step() })
    if (this.#time.timers > 0)
      choices.push({
        name: 'time',
        weight: choices.length === 0 ? 10 : 0.7,
        happen: () => this.#time.fireNext(),
      })
    for (const task of this.#tasks)
      if (task.abortable) choices.push({ name: `abort ${task.name}`, weight: 2, happen: () => task.abort() })
    return choices
  }

  #choicesOf(link: ModelLink, choices: Choice[]): void {
    const { processID } = link.session
    const add = (name: string, weight: number, happen: () => void): void =>
      void choices.push({ name: `${name} ${processID}`, weight, happen })
    if (link.state === 'dialing') {
      add('accept', 10, () => link.accept())
      if (this.#refusals > 0) add('refuse', 3, () => this.#refuse(link))
      return
    }
    if (link.deliverable) {
      add('deliver', 10, () => link.deliver())
      add('deliver one', 3, () => link.deliverOne())
      add('deliver half', 1, () => link.deliverHalf())
    }
    if (link.waiting && this.#busy.has(link)) add('go on', 0.3, () => void this.#busy.delete(link))
    else if (link.waiting) {
      if (this.#slow > 0 && !this.#ending) add('slow', 0.8, () => this.#beSlow(link))
      add('serve', 10, () => link.serve(false))
      add('serve one', 3, () => link.serve(true))
    }
    if (this.#deaths > 0 && link.state === 'open' && !this.#ending) this.#deathsOf(link, add)
    if (this.#crashes > 0 && link.state === 'open' && !this.#ending) this.#crashesOf(link, add)
  }

  /** The server crashes, and is back at once: what was not on its disk is lost, or had just been written. */
  #crashesOf(link: ModelLink, add: (name: string, weight: number, happen: () => void) => void): void {
    const crashing = (inTime: boolean) => () => {
      this.#crashes--
      this.crashed++
      this.died++
      this.#dead.add(link)
      this.#database.crash(inTime)
      link.reset()
    }
    add('crash', 0.6, crashing(false))
    add('crash in time', 0.2, crashing(true))
  }

  /** A statement, or a COMMIT, that takes its time: timers fire before it is answered. */
  #beSlow(link: ModelLink): void {
    this.#slow--
    this.#busy.add(link)
  }

  #deathsOf(link: ModelLink, add: (name: string, weight: number, happen: () => void) => void): void {
    const dying = (happen: () => void) => () => {
      this.#deaths--
      this.died++
      this.#dead.add(link)
      happen()
    }
    add(
      'reset',
      0.8,
      dying(() => link.reset()),
    )
    if (link.session.over) return
    add(
      'kill',
      0.8,
      dying(() => link.kill()),
    )
    add(
      'vanish',
      0.4,
      dying(() => {
        link.session.kill()
        link.reset()
      }),
    )
  }

  #refuse(link: ModelLink): void {
    this.#refusals--
    this.refused++
    link.refuse()
  }

  // ---- what the links tell

  onWritten(link: ModelLink, { name, about, payload }: WireMessage): void {
    if (name === 'Parse' && about.startsWith('BEGIN')) this.#begins.set(link, this.#beginsOn(link) + 1)
    const signed = /\/\* (t\S+) \*\//.exec(about)
    if (signed !== null) this.#lastOwner.set(link, signed[1]!)
    // In a batch they are parsed.
    const command = name === 'Query' || name === 'Parse' ? about : ''
    if (command === 'COMMIT' || command === 'ROLLBACK') this.#ends.set(link, this.#endsOn(link) + 1)
    if (command === 'COMMIT') {
      const owner = this.#lastOwner.get(link)
      if (owner !== undefined) this.#commitsSentFor.add(owner)
    }
    const row = rowOf(name, payload)
    const owner = row === null ? undefined : this.#owners.get(row)
    if (row === null || owner === undefined) return
    this.#lastOwner.set(link, owner)
    this.#noteSending(row, { link, begin: this.#beginsOn(link) })
    const answered = link.session.endedAt.filter((at) => link.delivered >= at).length
    if (!this.#repeatable.has(row) && answered < this.#endsOn(link))
      this.wrong.push(`row ${row} cannot be sent again, and was sent behind a COMMIT that was not answered`)
  }

  #endsOn(link: ModelLink): number {
    return this.#ends.get(link) ?? 0
  }

  #beginsOn(link: ModelLink): number {
    return this.#begins.get(link) ?? 0
  }

  /** What is sent again on another connection is the opening of a transaction whose BEGIN was not answered, once. */
  #noteSending(row: number, sending: Sending): void {
    const sendings = this.#sendings.get(row) ?? []
    this.#sendings.set(row, sendings)
    const before = sendings.at(-1)
    // On the same connection it is sent again where its prepared statement was stale.
    if (before?.link === sending.link) return
    sendings.push(sending)
    if (before === undefined) return
    if (sendings.length > 2) this.wrong.push(`row ${row} was sent on ${sendings.length} connections`)
    if (this.ledger.fateOf(row) !== 'pending')
      this.wrong.push(`row ${row} was sent again after its caller was told`)
    if (!this.#repeatable.has(row)) this.wrong.push(`row ${row} was sent again, and opens no transaction`)
    if (hadBegun(before)) this.wrong.push(`row ${row} was sent again, though its BEGIN had been answered`)
  }

  /** Rows that may be sent again if the connection dies. */
  readonly #repeatable = new Set<number>()

  onInsert(_session: ModelSession, row: number, first: number): void {
    const [owner, opener] = [this.#owners.get(row), this.#owners.get(first)]
    if (owner !== opener)
      this.wrong.push(`row ${row} of ${owner} was written in the transaction of ${opener}`)
  }

  // ---- what the tasks tell

  /** A new row of `owner`'s; `repeatable` where its statement may open a transaction of a holder's. */
  issue(owner: string, story: string, repeatable: boolean): number {
    const row = this.ledger.issue(`${owner} ${story}`)
    this.#owners.set(row, owner)
    if (repeatable) this.#repeatable.add(row)
    return row
  }

  wasSent(row: number): boolean {
    return this.#sendings.has(row)
  }

  /** It was sent once, and its BEGIN had not been answered: it is to be sent again, if its connection is lost. */
  isReplayable(row: number): boolean {
    const sendings = this.#sendings.get(row) ?? []
    return sendings.length === 1 && !hadBegun(sendings[0]!)
  }

  commitWasSentFor(owner: string): boolean {
    return this.#commitsSentFor.has(owner)
  }

  /** How many deaths the library knows of. */
  get knownDeaths(): number {
    return this.#links.filter((link) => link.state === 'closed' && this.#dead.has(link)).length
  }

  ask(): number {
    return ++this.#asked
  }

  /** A holder begins. */
  enter(ask: number, owner: string): void {
    if (this.#holder !== null && (this.program.options.maxHoldMillis ?? 0) === 0)
      this.wrong.push(`two holders at once: ${this.#holder} and ${owner}`)
    if (ask < this.#lastServed) this.wrong.push(`${owner} was served after one who had asked later`)
    this.#lastServed = Math.max(this.#lastServed, ask)
    this.#holder = owner
  }

  /** Its caller is told that it is stored: no crash may undo that. */
  checkDurable(row: number): void {
    if (!this.#database.isDurable(row)) this.wrong.push(`row ${row} was confirmed before it was durable`)
  }

  leave(owner: string): void {
    if (this.#holder === owner) this.#holder = null
  }

  /** A loss must have had a cause, and "unknown" a COMMIT or the like that was sent. */
  checkLoss(error: unknown, owner: string, { knownBefore, unsafe, mayGiveUp, isVerified }: LossFacts): void {
    if (!(error instanceof ConnectionLostError)) return
    if (!mayGiveUp && /still running|cancelled statement/.test(String(error.cause)))
      this.wrong.push(`${owner} paid for another who gave up: ${String(error.cause)}`)
    const { releaseGraceMillis = 5_000, maxHoldMillis = 0 } = this.program.options
    const own = releaseGraceMillis < 5_000 || maxHoldMillis > 0
    if (this.died === knownBefore && !own && !this.#timeFlew)
      this.wrong.push(`${owner} lost a connection that did not die: ${String(error.cause)}`)
    if (error.commitOutcome !== 'unknown') return
    if (!this.commitWasSentFor(owner) && !unsafe.some((row) => this.wasSent(row)))
      this.wrong.push(`${owner} was told "unknown", and nothing that commits was sent for it`)
    if (isVerified) this.#checkVerification(error, owner)
  }

  /** What could be found out was, and else the reason is a true one. */
  #checkVerification(error: ConnectionLostError, owner: string): void {
    const verification = error.verification ?? ''
    const { verifyCommit = false, reconnectTimeoutMillis = 30_000 } = this.program.options
    const patienceIsOver = this.#ending || this.#timeFlew
    const reasons: readonly [RegExp, boolean][] = [
      [/^$/, verifyCommit === false],
      [/crash/, verifyCommit === true && this.crashed > 0],
      [/no server could be asked/, this.refused > 0 || reconnectTimeoutMillis === 0 || patienceIsOver],
      [/could not be made durable/, this.died > 1 || this.refused > 0 || patienceIsOver],
      [/take effect at COMMIT/, verifyCommit === true],
    ]
    if (!reasons.some(([pattern, isTrue]) => isTrue && pattern.test(verification)))
      this.wrong.push(`${owner} was told "unknown" without a good reason: "${verification}"`)
  }

  /** So much time passed that the library itself may have given up a connection. */
  get #timeFlew(): boolean {
    return this.#time.now >= 400
  }
}

/** The answer to the transaction's BEGIN has reached the library. */
function hadBegun({ link, begin }: Sending): boolean {
  const at = link.session.begunAt[begin - 1]
  return at !== undefined && link.delivered >= at
}

/** The row that a message writes; null where it writes none. */
function rowOf(name: string, payload: Buffer): number | null {
  if (name === 'Query') return numberOf(/INSERT INTO rows VALUES \((\d+)\)/.exec(payload.toString())?.[1])
  return name === 'Bind' ? numberOf(readBind(payload).values[0]) : null
}

function numberOf(text: string | undefined): number | null {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : null
}

/** Everything runs that can without an event from outside: all ticks and microtasks come before. */
function quiescence(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
