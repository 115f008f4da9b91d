/**
 * The plain way to share a connection with a worker, to be compared with: a message, and its answer, for each of
 * acquire, BEGIN, the statement, COMMIT and release. No more is done for it than that, and nothing against it: the
 * connection is one of this library's, whose BEGIN and COMMIT are cheap, and messages are as small as they can be.
 */
import type { MessagePort } from 'node:worker_threads'
import type { Connection, ManagedConnection } from 'pg-managed-connection'

type Rows = readonly Record<string, unknown>[]
type Step = 'acquire' | 'query' | 'release'
type Request = readonly [id: number, step: Step, task: number, text: string, values: readonly unknown[]]
type Answer = readonly [id: number, rows: Rows | null]

/** The worker's side. */
export class FiveMessages {
  readonly #port: MessagePort
  readonly #waiting = new Map<number, (rows: Rows) => void>()
  #lastID = 0

  constructor(port: MessagePort) {
    this.#port = port
    port.on('message', ([id, rows]: Answer) => {
      this.#waiting.get(id)!(rows ?? [])
      this.#waiting.delete(id)
    })
  }

  #ask(step: Step, task: number, text = '', values: readonly unknown[] = []): Promise<Rows> {
    const id = ++this.#lastID
    this.#port.postMessage([id, step, task, text, values] satisfies Request)
    return new Promise((resolve) => this.#waiting.set(id, resolve))
  }

  async transaction(
    work: (query: (text: string, values: readonly unknown[]) => Promise<Rows>) => Promise<void>,
  ): Promise<void> {
    const task = ++this.#lastID
    await this.#ask('acquire', task)
    await this.#ask('query', task, 'BEGIN')
    await work((text, values) => this.#ask('query', task, text, values))
    await this.#ask('query', task, 'COMMIT')
    await this.#ask('release', task)
  }
}

/** The owner's side, for one worker. A failure ends the bench. */
export function serveFiveMessages(manager: ManagedConnection, port: MessagePort): void {
  const handles = new Map<number, Connection>()
  const carryOut = async ([, step, task, text, values]: Request): Promise<Rows | null> => {
    switch (step) {
      case 'acquire':
        handles.set(task, await manager.acquire({ autocommit: true }))
        return null
      case 'query':
        return (await handles.get(task)!.query<Rows[0]>(text, [...values])).rows
      case 'release':
        await handles.get(task)!.release()
        handles.delete(task)
        return null
      default:
        return step satisfies never
    }
  }
  port.on('message', (request: Request) => {
    void carryOut(request).then((rows) => port.postMessage([request[0], rows] satisfies Answer))
  })
}
