/** One run of the reference program with one fault in it, and everything that has to hold after it. */
import { getEventListeners } from 'node:events'
import { inspect } from 'node:util'
import { ManagedConnection, type ManagedConnectionOptions } from 'pg-managed-connection'
import { Ledger } from '../ledger.js'
import { startProxy, type CutKind, type Direction, type Proxy } from '../proxy.js'
import { within } from '../wait.js'
import { PASSWORD, USER, type Grounds } from './grounds.js'
import { judge } from './judge.js'
import { runReference, type Step } from './reference.js'
import { Witness } from './witness.js'

export type Encryption = 'plain' | 'tls'

/** What is done to the conversation: at this byte of this direction, counted over all of its connections. */
export interface Fault {
  readonly encryption: Encryption
  readonly direction: Direction
  readonly bytes: number
  readonly how: CutKind
}

/** What came of a trial. */
export interface Verdict {
  /** The conversation was long enough for the fault to happen. */
  readonly happened: boolean
  /** Sentences; empty when all is well. */
  readonly wrong: readonly string[]
  readonly confirmed: number
  readonly refused: number
  readonly unknown: number
  /** The longest that a call took. */
  readonly longestMillis: number
}

/** What takes longer hangs, however busy the machine is. */
const HANG_MILLIS = 40_000

/** Where nothing goes deaf, no deadline is to play a part. */
const PATIENT = 30_000

let trials = 0

/** Runs the program with a fault; with null nothing is done to it. */
export async function runTrial(
  grounds: Grounds,
  encryption: Encryption,
  fault: Fault | null,
): Promise<Verdict> {
  // Of six figures each, so that all conversations have the same length.
  const trial = 100_000 + (trials++ % 900_000)
  await using proxy = await startProxy(grounds.server.tcp)
  const plan = fault === null ? null : proxy.cutAfter({ ...fault, counting: 'all' })
  let happened = false
  void plan?.happened.then(() => (happened = true))
  const run = new Run(grounds, proxy, { encryption, trial, deaf: fault?.how === 'deaf' })
  try {
    await run.program(() => happened)
    if (happened) await run.worksAgain()
  } finally {
    await run.end()
  }
  proxy.close()
  return { happened, ...(await run.verdict()) }
}

/** How long the conversation is when nothing happens to it, in bytes, and how long it takes. */
export async function measureConversation(
  grounds: Grounds,
  encryption: Encryption,
): Promise<{ bytes: Record<Direction, number>; millis: number }> {
  await using proxy = await startProxy(grounds.server.tcp)
  const run = new Run(grounds, proxy, { encryption, trial: 100_000 + trials++, deaf: false })
  const start = performance.now()
  await run.program(() => false)
  const millis = performance.now() - start
  await run.end()
  const { wrong } = await run.verdict()
  if (wrong.length > 0) throw new Error(`without any fault: ${wrong.join('\n')}`)
  return { bytes: { ...proxy.bytes }, millis }
}

interface RunFacts {
  readonly encryption: Encryption
  readonly trial: number
  readonly deaf: boolean
}

class Run {
  readonly #grounds: Grounds
  readonly #facts: RunFacts
  readonly #ledger = new Ledger()
  readonly #witness = new Witness()
  readonly #abort = new AbortController()
  readonly #manager: ManagedConnection
  readonly #wrong: string[] = []
  #steps: Step[] = []

  constructor(grounds: Grounds, proxy: Proxy, facts: RunFacts) {
    this.#grounds = grounds
    this.#facts = facts
    const limit = facts.deaf ? grounds.patienceMillis : PATIENT
    const options: ManagedConnectionOptions = {
      statementTimeoutMillis: limit,
      releaseGraceMillis: limit,
      acquireTimeoutMillis: facts.deaf ? 2 * limit : PATIENT,
      reconnectTimeoutMillis: PATIENT,
      onConnect: this.#witness.watch,
    }
    const where = { host: proxy.host, port: proxy.port, dbname: 'postgres', user: USER, password: PASSWORD }
    this.#manager = new ManagedConnection(
      {
        ...where,
        sslmode: facts.encryption === 'tls' ? 'require' : 'disable',
        connectionTimeoutMillis: limit,
        application_name: this.#name,
      },
      options,
    )
    this.#manager.once('connect', () => (this.#witness.connectedAt = performance.now()))
    this.#manager.on('error', (error) => this.#wrong.push(`an error event: ${error.message}`))
  }

  get #name(): string {
    return `trial_${this.#facts.trial}`
  }

  /** Runs the program until the fault has happened. */
  async program(over: () => boolean): Promise<void> {
    const { trial } = this.#facts
    const props = { manager: this.#manager, ledger: this.#ledger, trial, abort: this.#abort, over }
    await this.#bounded('the program', async () => {
      this.#steps = await runReference(props)
    })
  }

  /** The fault is over: the next ask is served as if nothing had been. */
  async worksAgain(): Promise<void> {
    await this.#bounded('the next use', async () => {
      // Deadlines as short as those of a deaf peer may run out on a busy machine without any fault.
      const end = performance.now() + (this.#facts.deaf ? HANG_MILLIS / 2 : 0)
      for (;;) {
        try {
          // The fault may not have been noticed yet; that is what the replay is for.
          await this.#manager.transaction((connection) => connection.query('SELECT 1'))
          return
        } catch (error) {
          if (performance.now() > end) throw error
        }
      }
    })
  }

  async end(): Promise<void> {
    await this.#bounded('end()', () => this.#manager.end({ timeoutMillis: 1_000 }))
  }

  async #bounded(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await within(work(), what, HANG_MILLIS)
    } catch (error) {
      const { stats } = this.#manager
      this.#wrong.push(
        `${what} failed: ${String(error)} (${inspect(this.#manager)} ${JSON.stringify(stats)})`,
      )
    }
  }

  /** Looks at what is stored once all backends have gone: until then one might still commit. */
  async verdict(): Promise<Omit<Verdict, 'happened'>> {
    const deaf = this.#facts.deaf
    const wrong = [...this.#wrong, ...judge(this.#steps, this.#witness, this.#ledger, { deaf })]
    wrong.push(...this.#leftBehind(), ...this.#ledger.compare(await this.#stored()))
    const count = (fate: 'confirmed' | 'refused' | 'unknown'): number => this.#ledger.count(fate)
    return {
      wrong: wrong.length > 0 ? [[...wrong, this.#story()].join('\n')] : [],
      confirmed: count('confirmed'),
      refused: count('refused'),
      unknown: count('unknown'),
      longestMillis: Math.max(...this.#steps.map(({ millis }) => millis)),
    }
  }

  #leftBehind(): string[] {
    const { stats } = this.#manager
    const listeners = getEventListeners(this.#abort.signal, 'abort').length
    const left: string[] = []
    if (listeners > 0) left.push(`${listeners} listeners are left on the signal`)
    if (stats.held || stats.waiting > 0 || stats.inFlight > 0) left.push(`left: ${JSON.stringify(stats)}`)
    if (!this.#manager.closed) left.push('a connection is left')
    return left
  }

  async #stored(): Promise<number[]> {
    const deadline = performance.now() + HANG_MILLIS
    for (;;) {
      const [row] = await this.#grounds.ask<{ backends: number; stored: number[] }>(
        `SELECT (SELECT count(*)::int FROM pg_stat_activity WHERE application_name = $1) AS backends,
           (SELECT coalesce(array_agg(id), '{}') FROM rows WHERE trial = $2) AS stored`,
        [this.#name, this.#facts.trial],
      )
      if (row!.backends === 0) return row!.stored
      if (performance.now() > deadline) this.#wrong.push(`${row!.backends} backends are left`)
      if (performance.now() > deadline) return row!.stored
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** For the report of a trial in which something was wrong. */
  #story(): string {
    const steps = this.#steps.map(
      ({ name, outcome, millis }) =>
        `    ${name} (${Math.round(millis)} ms): ${outcome.status === 'fulfilled' ? 'resolved' : inspect(outcome.reason, { depth: 2 }).split('\n').slice(0, 3).join(' ')}`,
    )
    const units = this.#witness.sessions.map(
      (session, index) =>
        `    session ${index + 1}: ${session.units.map(({ texts, tags, answered }) => `[${texts.join('; ')} → ${tags.join(', ')}${answered ? '' : ' (unanswered)'}]`).join(' ')}`,
    )
    return [...steps, ...units].join('\n')
  }
}
