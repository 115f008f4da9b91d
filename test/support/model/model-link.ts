/**
 * One connection between the library and the model: a stream that pg writes to, and a session at its other end. Nothing moves
 * by itself; each of its methods is one event that a schedule may choose.
 */
import { Duplex } from 'node:stream'
import { FrontendParser, type WireMessage } from '../wire.js'
import { backend } from '../backend-messages.js'
import type { ModelDatabase } from './model-database.js'
import { ModelSession, type SessionWatch } from './model-session.js'

/** What is told of a link, besides what its session tells. */
export interface LinkWatch extends SessionWatch {
  /** The library has written a message. */
  onWritten(link: ModelLink, message: WireMessage): void
}

export class ModelLink extends Duplex {
  readonly session: ModelSession
  /** `dialing` → `open` → `closed` for the library; the session may go on with what it has received. */
  state: 'idle' | 'dialing' | 'open' | 'closed' = 'idle'
  /** Messages that were delivered to the library. */
  delivered = 0
  readonly #parser = new FrontendParser()
  readonly #watch: LinkWatch
  readonly #received: WireMessage[] = []
  /** The part of the next message that was delivered already. */
  #split: Buffer | null = null
  #hungUp = false

  constructor(database: ModelDatabase, watch: LinkWatch) {
    super({ allowHalfOpen: false })
    this.session = new ModelSession(database, watch)
    this.#watch = watch
  }

  // What pg asks of a socket.

  connect(): this {
    this.state = 'dialing'
    return this
  }

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, written: () => void): void {
    for (const message of this.#parser.push(chunk)) {
      this.#received.push(message)
      this.#watch.onWritten(this, message)
    }
    written()
  }

  override _destroy(error: Error | null, destroyed: (error: Error | null) => void): void {
    this.state = 'closed'
    destroyed(error)
  }

  // What may happen.

  accept(): void {
    this.state = 'open'
    this.emit('connect')
  }

  refuse(): void {
    this.destroy(
      Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED', syscall: 'connect' }),
    )
  }

  /** The session has something to read. */
  get waiting(): boolean {
    return this.#received.length > 0 && !this.session.over
  }

  /** The session reads a message, or all up to the next that it answers. */
  serve(one: boolean): void {
    do this.session.receive(this.#received.shift()!)
    while (!one && this.waiting && this.session.output.length === 0)
    if (this.session.over) this.#received.length = 0
  }

  /** There is something for the library to read. */
  get deliverable(): boolean {
    if (this.state !== 'open') return false
    return this.session.output.length > 0 || (this.session.over && !this.#hungUp)
  }

  /** All that was answered arrives, and the end of the stream behind a session that is over. */
  deliver(): void {
    const { output } = this.session
    if (output.length > 0) this.#push(Buffer.concat(output), output.length)
    output.length = 0
    if (this.session.over) this.hangUp()
  }

  /** One message arrives. */
  deliverOne(): void {
    const { output } = this.session
    if (output.length === 0) return this.hangUp()
    this.#push(output.shift()!, 1)
  }

  /** The first half of a message arrives, if it was not there already. */
  deliverHalf(): void {
    const next = this.session.output[0]
    if (next === undefined || this.#split !== null) return this.deliver()
    const middle = next.length >> 1
    this.#split = next.subarray(middle)
    this.push(next.subarray(0, middle))
  }

  #push(bytes: Buffer, messages: number): void {
    const split = this.#split
    this.#split = null
    const skip = split === null ? 0 : this.#halfOf(bytes)
    this.delivered += messages
    this.push(bytes.subarray(skip))
  }

  #halfOf(bytes: Buffer): number {
    return (bytes.readUInt32BE(1) + 1) >> 1
  }

  /** The stream ends. */
  hangUp(): void {
    this.#hungUp = true
    this.push(null)
  }

  /** The session is ended as by an administrator: what it has not read is lost, its last word arrives or not. */
  kill(): void {
    this.session.kill()
    this.#received.length = 0
    this.session.output.push(
      backend.error('57P01', 'terminating connection due to administrator command', 'FATAL'),
    )
  }

  /** The network breaks: the library learns it at once, the session when it has read all that it was sent. */
  reset(): void {
    this.destroy(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET', syscall: 'read' }))
  }
}
