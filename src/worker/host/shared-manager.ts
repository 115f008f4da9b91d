/**
 * Where all workers of one manager ask for their turns. It knows whose each request in the manager's line is, and so
 * can say who is next before the line moves: then a worker whose own turn is next may start it without asking back.
 *
 * What is next stays next, because nobody overtakes. That such a turn leaves the line, because its time has passed, is
 * agreed on with its worker first.
 */
import { clock } from '../../util/clock.js'
import { BriefMap } from '../../util/brief-map.js'
import { Deadlines } from '../../util/deadlines.js'
import { TravellingTypes } from './travelling-types.js'
import type { ManagedConnection } from '../../index.js'

export type Sharing = ManagedConnection['sharing']
export type Asked = NonNullable<ReturnType<Sharing['watchAsk']>>

/** A worker's turn, as the desk sees it. */
export interface SharedLease {
  readonly id: number
  /** Whose it is. */
  readonly host: object
  /** Stands for it while it holds the connection. */
  readonly floor: object | null
  /** How many of its statements are unanswered. */
  readonly unanswered: number
  /** Its worker is told that it is next; false when that was done before. */
  announce(): boolean
  /** A server connection came or went. */
  onSessionChanged(): void
}

/** The side of one worker, as the desk sees it. */
export interface SharedHost {
  /** The manager has ended. */
  onEnded(): void
  /** Brings its board up to date. */
  write(): void
}

/** So many turns are named beforehand. */
const LOOK_AHEAD = 8

export class SharedManager {
  readonly manager: ManagedConnection
  readonly sharing: Sharing
  readonly deadlines = new Deadlines()
  readonly types: TravellingTypes
  readonly #hosts = new Set<SharedHost>()
  readonly #turns = new BriefMap<object, SharedLease>()
  #current: SharedLease | null = null

  constructor(manager: ManagedConnection) {
    this.manager = manager
    this.sharing = manager.sharing
    this.types = new TravellingTypes(() => this.sharing.types)
    this.sharing.onEnded(() => this.#onEnded())
  }

  // Listeners are told in the middle of things: what they find out holds a moment later.
  readonly #look = (): void => clock.queueMicrotask(() => this.#onSessionChanged())

  enter(host: SharedHost): void {
    if (this.#hosts.size === 0) this.manager.on('connect', this.#look).on('disconnect', this.#look)
    this.#hosts.add(host)
    host.write()
  }

  leave(host: SharedHost): void {
    this.#hosts.delete(host)
    if (this.#hosts.size > 0) return
    this.manager.off('connect', this.#look).off('disconnect', this.#look)
    this.deadlines.clear()
  }

  #onSessionChanged(): void {
    for (const host of this.#hosts) host.write()
    this.#current?.onSessionChanged()
  }

  #onEnded(): void {
    for (const host of [...this.#hosts]) host.onEnded()
  }

  /** The turn of a worker that has the floor; null where nobody has it, or somebody of the owner's thread. */
  get current(): SharedLease | null {
    const turn = this.#current
    return turn !== null && turn.floor === this.sharing.floor ? turn : null
  }

  asked(turn: SharedLease, asked: Asked): void {
    this.#turns.set(asked, turn)
  }

  /** It has left the line. */
  answered(asked: Asked): void {
    this.#turns.delete(asked)
  }

  granted(turn: SharedLease): void {
    this.#current = turn
  }

  left(turn: SharedLease): void {
    if (this.#current === turn) this.#current = null
  }

  /**
   * The turns of `host` that are certain to be the next, where the present holder is its own, too; without those
   * that were named before.
   */
  next(host: object): number[] {
    const named: number[] = []
    if (this.current?.host !== host) return named
    let asked = this.sharing.first as Asked | null
    for (let place = 0; asked !== null && place < LOOK_AHEAD; place++) {
      const turn = this.#turns.get(asked)
      if (turn?.host !== host) break
      if (turn.announce()) named.push(turn.id)
      asked = asked.next as Asked | null
    }
    return named
  }
}
