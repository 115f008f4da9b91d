/** A call of `lead()` whose work goes on until the test ends it. */
import { lead, type Leader, type LeadOptions } from 'pg-managed-connection/leader'
import { outcome } from '../caught.js'
import { until, within } from '../wait.js'
import type { Manager } from 'pg-managed-connection'

/** So that who stands by is not waited for. */
const RETRY_MILLIS = 20

export class Term implements AsyncDisposable {
  /** What each work was given, in order. */
  readonly leaders: Leader[] = []
  /** How the whole call went. */
  readonly settled: Promise<PromiseSettledResult<void>>
  isSettled = false
  readonly #abort = new AbortController()
  #finish: () => void = () => {}
  #fail: (error: unknown) => void = () => {}

  constructor(manager: Manager, name: string, options: LeadOptions = {}) {
    const work = (leader: Leader): Promise<void> => {
      this.leaders.push(leader)
      return new Promise<void>((resolve, reject) => {
        this.#finish = resolve
        this.#fail = reject
      })
    }
    const signal = options.signal ?? this.#abort.signal
    this.settled = outcome(lead(manager, name, work, { retryMillis: RETRY_MILLIS, ...options, signal }))
    void this.settled.then(() => (this.isSettled = true))
  }

  /** Waits until it leads for the n-th time, from 1. */
  async leads(n = 1): Promise<Leader> {
    await until(() => this.leaders.length >= n || this.isSettled, { what: `it to lead for the ${n}. time` })
    const leader = this.leaders[n - 1]
    if (leader === undefined) throw new Error('it has ended', { cause: await this.settled })
    return leader
  }

  /** The present work returns. */
  finish(): void {
    this.#finish()
  }

  /** The present work throws. */
  fail(error: unknown): void {
    this.#fail(error)
  }

  /** Waits for the end of the call; gives what it was rejected with, undefined where it was not. */
  async ended(): Promise<unknown> {
    const settled = await within(this.settled, 'lead() to settle')
    return settled.status === 'rejected' ? settled.reason : undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort(new Error('the test is over'))
    this.finish()
    // It may have begun anew in the same moment.
    await until(() => (this.finish(), this.isSettled), { what: 'lead() to settle' })
  }
}

/** Waits until the signal has aborted, and gives its reason. */
export async function lossOf({ signal }: Leader): Promise<Error> {
  await until(() => signal.aborted, { what: 'the signal to abort' })
  return signal.reason as Error
}
