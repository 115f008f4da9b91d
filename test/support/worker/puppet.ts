/** A worker on strings: it does what the test asks for, and tells how it went. */
import { Worker } from 'node:worker_threads'
import { share } from 'pg-managed-connection/worker'
import * as classes from 'pg-managed-connection'
import { within } from '../wait.js'
import type { ManagedConnection } from 'pg-managed-connection'

/** What a puppet can do; see puppet-thread.ts. */
export type Verb =
  | 'use'
  | 'busy use'
  | 'transaction'
  | 'hold'
  | 'autocommit'
  | 'one-shot'
  | 'stream'
  | 'streamed'
  | 'block'
  | 'listen'
  | 'lead'
  | 'heard'
  | 'look'
  | 'values'
  | 'rows'
  | 'set parser'
  | 'end'

export interface Order {
  readonly id: number
  readonly verb: Verb | 'exit' | 'throw' | 'close'
  readonly texts: readonly string[]
  readonly millis: number
}

/** How an order went. An error comes as its class and its facts, because threads copy no classes. */
export type Report =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly className: string; readonly facts: Record<string, unknown> }

type Answer = { resolve(value: unknown): void; reject(error: unknown): void }

export class Puppet implements AsyncDisposable {
  readonly worker: Worker
  readonly #awake: Int32Array
  readonly #answers = new Map<number, Answer>()
  readonly #exited: Promise<void>
  #lastID = 0

  private constructor(worker: Worker, awake: Int32Array) {
    this.worker = worker
    this.#awake = awake
    worker.on('message', (report: Report) => this.#onReport(report))
    worker.on('error', () => {}) // some are told to throw
    this.#exited = new Promise((resolve) => {
      worker.once('exit', () => {
        for (const { reject } of this.#answers.values()) reject(new Error('the puppet is gone'))
        resolve()
      })
    })
  }

  /** One that `leaves` uses the connection once and has nothing else to live for. */
  static async start(manager: ManagedConnection, { leaves = false } = {}): Promise<Puppet> {
    const port = share(manager)
    const awake = new Int32Array(new SharedArrayBuffer(4))
    const worker = new Worker(new URL('puppet-thread.js', import.meta.url), {
      workerData: { port, leaves, awake },
      transferList: [port],
    })
    const puppet = new Puppet(worker, awake)
    await within(new Promise((resolve) => worker.once('online', resolve)), 'the worker to start')
    return puppet
  }

  /** Ends what keeps a busy thread busy. */
  wake(): void {
    Atomics.store(this.#awake, 0, 1)
    Atomics.notify(this.#awake, 0)
  }

  async ask(verb: Verb, { texts = [] as readonly string[], millis = 0 } = {}): Promise<unknown> {
    return await this.#send({ id: ++this.#lastID, verb, texts, millis })
  }

  #send(order: Order): Promise<unknown> {
    const answered = new Promise((resolve, reject) => this.#answers.set(order.id, { resolve, reject }))
    this.worker.postMessage(order)
    return answered
  }

  async end(how: 'exit' | 'throw' | 'terminate' | 'close'): Promise<void> {
    if (how === 'terminate') await this.worker.terminate()
    else if (how === 'close') await this.#send({ id: ++this.#lastID, verb: 'close', texts: [], millis: 0 })
    else {
      this.worker.postMessage({ id: ++this.#lastID, verb: how, texts: [], millis: 0 } satisfies Order)
      await within(this.#exited, 'the worker to exit')
    }
  }

  #onReport(report: Report): void {
    const answer = this.#answers.get(report.id)
    this.#answers.delete(report.id)
    if ('value' in report) answer?.resolve(report.value)
    else answer?.reject(revive(report))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.worker.terminate()
    await this.#exited
  }
}

/** The class is found by the name that the worker's own `instanceof` has confirmed. */
function revive({ className, facts }: Extract<Report, { className: string }>): Error {
  const type = (classes as unknown as Record<string, { prototype: object } | undefined>)[className]
  const error = new Error(String(facts['message']))
  if (type !== undefined) Object.setPrototypeOf(error, type.prototype)
  const { message: _message, ...rest } = facts
  for (const [name, value] of Object.entries(rest)) {
    Object.defineProperty(error, name, { value, configurable: true, writable: true, enumerable: true })
  }
  return error
}
