/** What a worker asks for without a turn: one-shots, batches, subscriptions. */
import { BriefMap } from '../../util/brief-map.js'
import { encodeError } from '../wire-error.js'
import { HostSubscription } from './host-subscription.js'
import { WorkerGoneError } from './stand-in.js'
import { toConfig } from './statement-config.js'
import type { ListenOptions } from '../../index.js'
import type { WireOptions, WireStatement } from '../protocol.js'
import type { Asked } from './shared-manager.js'
import type { HostContext } from './host-context.js'

type Result = Parameters<HostContext['answer']>[1]

export class HostCalls {
  readonly #context: HostContext
  /** One-shots and batches that are unanswered. */
  readonly #asked = new BriefMap<number, Asked>()
  /** The numbers of subscriptions that are asked for, or there. */
  readonly #listening = new Set<number>()
  readonly #subscriptions = new Map<number, HostSubscription>()
  #gone = false

  constructor(context: HostContext) {
    this.#context = context
  }

  query(id: number, statement: WireStatement): void {
    const { desk, aborts } = this.#context
    const config = toConfig(statement, desk.types, aborts.signalFor(id, statement))
    this.#ask(id, () => desk.manager.query(config))
  }

  batch(
    id: number,
    statements: readonly WireStatement[],
    options: WireOptions | null,
    abortable: boolean,
  ): void {
    const { desk, aborts } = this.#context
    const configs = statements.map((statement) => toConfig(statement, desk.types, undefined))
    const signal = abortable ? aborts.signal(id) : undefined
    this.#ask(id, () => desk.manager.batch(configs, { ...options, signal }))
  }

  #ask(id: number, send: () => Promise<Result>): void {
    let answered!: Promise<Result>
    const asked = this.#context.desk.sharing.watchAsk(null, () => {
      answered = send()
    })
    if (asked !== null) this.#asked.set(id, asked)
    answered.then(
      (result) => {
        this.#over(id)
        this.#context.answer(id, result)
      },
      (error: unknown) => {
        this.#over(id)
        this.#context.fail(id, error)
      },
    )
  }

  #over(id: number): void {
    this.#asked.delete(id)
    this.#context.aborts.over(id)
  }

  /** @throws TypeError for a number that is in use */
  listen(id: number, channel: string, options: WireOptions | null): void {
    if (this.#listening.has(id)) throw new TypeError(`subscription ${id} was asked for twice`)
    this.#listening.add(id)
    void this.#listen(id, channel, options)
  }

  async #listen(id: number, channel: string, options: WireOptions | null): Promise<void> {
    const { desk, aborts } = this.#context
    try {
      const given: ListenOptions = { ...options, signal: aborts.signal(id) }
      const subscription = new HostSubscription(await desk.manager.listen(channel, given), {
        heard: (notifications) => this.#context.say(['heard', id, notifications]),
        ended: (error) => this.#unlistened(id, error),
      })
      this.#subscriptions.set(id, subscription)
      this.#context.say(['done', id])
      if (this.#gone) subscription.leave()
    } catch (error) {
      this.#listening.delete(id)
      this.#context.fail(id, error)
    }
    aborts.over(id)
  }

  #unlistened(id: number, error: Error | null): void {
    this.#listening.delete(id)
    this.#subscriptions.delete(id)
    this.#context.say(['unlistened', id, error === null ? null : encodeError(error)])
  }

  heard(id: number, count: number): void {
    this.#subscriptions.get(id)?.heard(count)
  }

  unlisten(id: number): void {
    this.#subscriptions.get(id)?.leave()
  }

  /** The worker is gone: nothing of it is wanted any more. */
  kill(): void {
    this.#gone = true
    for (const asked of this.#asked.values()) asked.abandon(new WorkerGoneError())
    for (const subscription of this.#subscriptions.values()) subscription.leave()
  }
}
