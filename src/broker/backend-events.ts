/** Passes the events of a backend on to all who have to react. */
import { createScope, runInScope } from '../lease/holder-context.js'
import { clock } from '../util/clock.js'
import type { Client } from 'pg'
import type { EventSink } from '../api/ports.js'
import type { KeeperOwner } from '../backend/backend-keeper.js'
import type { Backend } from '../backend/backend.js'
import type { NoticeEvent } from '../events.js'
import type { Subscriptions } from '../listen/subscriptions.js'
import type { Unanswered } from '../pipeline/pipeline.js'
import type { Request } from '../pipeline/request.js'
import type { Deadlines } from '../util/deadlines.js'
import type { BackendLife } from './backend-life.js'
import type { Dispatcher } from './dispatcher.js'

export class BackendEvents implements KeeperOwner {
  readonly deadlines: Deadlines
  readonly #dispatcher: Dispatcher
  readonly #life: () => BackendLife
  readonly #subscriptions: () => Subscriptions
  readonly #events: EventSink
  #openings = 0

  constructor(
    dispatcher: Dispatcher,
    life: () => BackendLife,
    subscriptions: () => Subscriptions,
    events: EventSink,
  ) {
    this.deadlines = dispatcher.deadlines
    this.#dispatcher = dispatcher
    this.#life = life
    this.#subscriptions = subscriptions
    this.#events = events
  }

  onOpened(backend: Backend, openedMillis: number): void {
    this.#life().onOpened()
    const reconnected = this.#openings++ > 0
    this.#events.tell('connect', { processID: backend.processID, reconnected, openedMillis })
    this.#subscriptions().onSessionOpened()
    // Those who asked for the opening come first: their promise settles before this microtask runs.
    clock.queueMicrotask(() => this.#dispatcher.advance())
  }

  onReady(): void {
    if (this.#dispatcher.holder === null) this.#dispatcher.advance()
  }

  onLost(backend: Backend, cause: Error, { sent, unsent }: Unanswered): void {
    if (!this.#life().onLost(backend)) return
    const { holder } = this.#dispatcher
    const requests = holder?.requests.backend === backend ? holder.requests : null
    for (const request of [...sent, ...unsent])
      if (request.owner !== requests) request.owner.onLost(request, cause)
    const own = (request: Request): boolean => request.owner === requests
    requests?.backendLost(cause, sent.filter(own), unsent.filter(own))
    this.onGone(cause)
    this.#dispatcher.advance()
  }

  /** The backend is gone, with an error where it was lost. */
  onGone(error?: Error): void {
    this.#dispatcher.counters.disconnects++
    this.#subscriptions().onSessionGone()
    if (error === undefined) this.#events.tell('disconnect')
    else this.#events.tell('disconnect', error)
  }

  onNotice(notice: NoticeEvent): void {
    this.#events.tell('notice', notice)
  }

  onNotification(message: { channel: string; payload?: string | undefined; processId: number }): void {
    this.#subscriptions().deliver(message)
  }

  onListensDoubted(): void {
    this.#subscriptions().onDoubted()
  }

  /** The server would misread the texts of one-shots that were pipelined behind the change of the encoding. */
  onGarbled(backend: Backend): void {
    if (this.#dispatcher.holder === null && backend.pipeline.inFlight > 1) {
      backend.lose(new Error('client_encoding was changed, but pg writes and reads UTF8 only'))
    }
  }

  onWriteRefused(): void {
    this.#life().doubt()
  }

  prepare(client: Client): Promise<void> {
    return this.#subscriptions().listenAgain(client)
  }

  runOnConnect(work: () => Promise<void>): Promise<void> {
    const scope = createScope(this.#events.manager, 'onConnect')
    return runInScope(scope, work).finally(() => {
      scope.settled = true
    })
  }
}
