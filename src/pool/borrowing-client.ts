import { answerBy } from '../face/answer-by.js'
import { ClientShape } from './pg.js'
import type { PooledClient } from './pooled-client.js'

type Callback = (error?: unknown) => void
type Release = (error?: Error | boolean) => void

/** What its listeners hear of the client behind it. */
const PASSED_ON: ReadonlySet<string | symbol> = new Set(['error', 'end', 'notice', 'notification', 'drain'])

/**
 * The client of a pool of another copy of pg, which has taken ours for its configuration (`new Pool(ours)`): connecting
 * takes the shared connection out, in its turn, and ending gives it back.
 */
class BorrowingClient extends ClientShape {
  readonly #take: () => Promise<PooledClient>
  #client: PooledClient | null = null
  #ended = false
  #drop: Error | boolean = false
  #release: Release = () => {}

  constructor(take: () => Promise<PooledClient>) {
    super()
    this.#take = take
    this.on('newListener', (event: string | symbol) => this.#passOn(event))
  }

  /** pg's pool asks for it. */
  get _queryable(): boolean {
    return this.#client !== null
  }

  connect(callback?: Callback): Promise<void> | undefined {
    return answerBy(callback, this.#connect(), undefined)
  }

  async #connect(): Promise<void> {
    const client = await this.#take()
    if (this.#ended) {
      client.release()
      throw new Error('Connection terminated')
    }
    this.#client = client
    for (const event of this.eventNames()) this.#passOn(event)
  }

  #passOn(event: string | symbol): void {
    const client = this.#client
    if (client === null || !PASSED_ON.has(event) || client.listenerCount(event) > 0) return
    client.on(event, (...given: unknown[]) => {
      // Without a listener an error would be thrown.
      if (this.listenerCount(event) > 0) this.emit(event, ...given)
    })
  }

  query(config: unknown, values?: unknown, callback?: unknown): unknown {
    if (this.#client === null) throw new Error('Client was closed and is not queryable')
    return this.#client.query(config, values, callback)
  }

  /** The other pool sets it for each borrowing; what it is called with is not told to `end()`, which follows. */
  get release(): Release {
    return this.#release
  }

  set release(release: Release) {
    this.#release = (error) => {
      this.#drop = meansDrop(error) ? (error ?? false) : false
      release(error)
    }
  }

  end(callback?: Callback): Promise<void> | undefined {
    this.#ended = true
    const client = this.#client
    this.#client = null
    client?.release(this.#drop)
    return answerBy(callback, Promise.resolve(), undefined)
  }

  isConnected(): boolean {
    return this.#client !== null
  }

  getTransactionStatus(): 'I' | 'T' | 'E' | null {
    return this.#client?.getTransactionStatus() ?? null
  }

  get processID(): number | null {
    return this.#client?.processID ?? null
  }

  ref(): void {}
  unref(): void {}
}

/** pg's pool drops a client for each failing query; a statement's error is no reason to take it from all others. */
function meansDrop(error: Error | boolean | undefined): boolean {
  if (!(error instanceof Error)) return error === true
  return typeof (error as { severity?: unknown }).severity !== 'string'
}

/** The class of the clients of such a pool. */
export function borrowingClientOf(take: () => Promise<PooledClient>): new () => BorrowingClient {
  return class Client extends BorrowingClient {
    constructor() {
      super(take)
    }
  }
}
