/**
 * Where all workers of one manager ask for their leases. It knows whose each waiter in the queue is, and so can say who
 * is next before the queue moves: then a worker whose own lease is next may start it without asking back.
 *
 * What is next stays next, because nobody overtakes. That such a waiter leaves the queue, because its time has passed,
 * is agreed on with its worker first.
 */
import { ClassifiedTexts } from '../../sql/classify.js'
import { BriefMap } from '../../util/brief-map.js'
import { clock } from '../../util/clock.js'
import { Deadlines } from '../../util/deadlines.js'
import type { LocalBroker } from '../../broker/local-broker.js'
import type { ManagerFace } from '../../face/manager-face.js'
import type { Host } from './host.js'
import type { HostLease } from './host-lease.js'

/** So many leases are announced beforehand. */
const LOOK_AHEAD = 8

export class SharedManager {
  readonly broker: LocalBroker
  readonly deadlines = new Deadlines()
  readonly texts = new ClassifiedTexts()
  /** The workers' leases that stand in the queue. */
  readonly waiting = new BriefMap<object, HostLease>()
  readonly #manager: ManagerFace
  readonly #hosts = new Set<Host>()
  /** The lease of a worker that was granted last. */
  lastGranted: HostLease | null = null

  constructor(manager: ManagerFace, broker: LocalBroker) {
    this.#manager = manager
    this.broker = broker
    broker.dispatcher.ending.onOver(() => {
      for (const host of [...this.#hosts]) {
        host.close('the thread that owns the connection has ended its manager')
      }
    })
  }

  // Listeners are told in the middle of things: what they find out holds a moment later.
  readonly #look = (): void => clock.queueMicrotask(() => this.#onBackendChanged())

  #onBackendChanged(): void {
    for (const host of this.#hosts) host.writeStats()
    this.current?.tellState()
  }

  enter(host: Host): void {
    if (this.#hosts.size === 0) this.#manager.on('connect', this.#look).on('disconnect', this.#look)
    this.#hosts.add(host)
    host.writeStats()
  }

  leave(host: Host): void {
    this.#hosts.delete(host)
    if (this.#hosts.size > 0) return
    this.#manager.off('connect', this.#look).off('disconnect', this.#look)
    this.deadlines.clear()
  }

  /** The lease of a worker that is held; null where none is, or one of the owner's thread. */
  get current(): HostLease | null {
    return this.lastGranted?.held ? this.lastGranted : null
  }

  /**
   * The leases of `host` that are certain to be the next, where the present holder is its own, too; without those that
   * were announced before.
   */
  next(host: object): number[] {
    const announced: number[] = []
    if (this.current?.host !== host) return announced
    let waiter = this.broker.dispatcher.first
    for (let place = 0; waiter !== null && place < LOOK_AHEAD; place++) {
      const lease = this.waiting.get(waiter)
      if (lease?.host !== host) break
      if (lease.announce()) announced.push(lease.id)
      waiter = waiter.next
    }
    return announced
  }
}
