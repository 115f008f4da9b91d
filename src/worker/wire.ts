/** One end of a port. What is said in one tick goes in one message; all that has arrived by now is heard at once. */
import { receiveMessageOnPort } from 'node:worker_threads'
import { clock, inNobodysContext } from '../util/clock.js'
import type { MessagePort } from 'node:worker_threads'

/** What is kept for the next message waits no longer for it, in milliseconds. */
const LONGEST_MILLIS = 1

/** So many entries are heard at a time: others want to run, too, however much one side has to say. */
const MOST_AT_ONCE = 1_000

/** Who speaks and listens at it. */
export interface Speaker<In> {
  hear(entry: In): void
  /** The other side is gone, and all that it had said has been heard. */
  onGone(): void
  /** A message cannot be sent, or what came cannot be read. */
  onBroken(error: Error): void
  /** May say what is to go along. */
  beforeFlush?(): void
}

export class Wire<Out, In> {
  readonly #port: MessagePort
  readonly #speaker: Speaker<In>
  #unsent: Out[] = []
  #scheduled = false
  #timer: NodeJS.Timeout | null = null
  #closed = false
  /** Messages that have not been heard to their end. */
  readonly #unheard: (readonly In[])[] = []
  /** The next entry of the first of them. */
  #next = 0
  #paused = false
  #gone = false

  /** Listens, without keeping the thread alive. */
  constructor(port: MessagePort, speaker: Speaker<In>) {
    this.#port = port
    this.#speaker = speaker
    port.on('message', (message: unknown) => {
      this.#take(message)
      if (!this.#paused) this.#hearSome()
    })
    port.on('messageerror', (error) => speaker.onBroken(error))
    port.once('close', () => {
      this.#gone = true
      if (!this.#paused) speaker.onGone()
    })
    port.unref()
  }

  say(entry: Out): void {
    if (this.#closed) return
    this.#unsent.push(entry)
    this.#schedule()
  }

  /** Goes along with what is said next, which is expected soon: a message of its own would wake the other thread. */
  keep(entry: Out): void {
    if (this.#closed) return
    this.#unsent.push(entry)
    this.#timer ??= inNobodysContext(() => clock.setTimeout(this.#onKeptTooLong, LONGEST_MILLIS))
  }

  readonly #onKeptTooLong = (): void => {
    this.#timer = null
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    // Once the promises that are settled by now have told who waits for them.
    clock.nextTick(this.#flush)
  }

  readonly #flush = (): void => {
    const wanted = !this.#closed && this.#unsent.length > 0
    // What it says goes along.
    if (wanted) this.#speaker.beforeFlush?.()
    this.#scheduled = false
    if (!wanted) return
    const entries = this.#unsent
    this.#unsent = []
    try {
      this.#port.postMessage(entries)
    } catch (error) {
      this.#speaker.onBroken(error as Error)
    }
  }

  #take(message: unknown): void {
    if (Array.isArray(message)) this.#unheard.push(message as In[])
    else this.#speaker.onBroken(new TypeError('a message on the port is no list'))
  }

  /** The next message, with whatever else has arrived by now. */
  #more(): boolean {
    if (this.#unheard.length > 0) return true
    const another = receiveMessageOnPort(this.#port) as { message: unknown } | undefined
    if (another !== undefined) this.#take(another.message)
    return this.#unheard.length > 0
  }

  readonly #hearSome = (): void => {
    this.#paused = false
    for (let count = 0; count < MOST_AT_ONCE && this.#more(); count++) {
      const [message] = this.#unheard
      if (this.#next < message!.length) this.#speaker.hear(message![this.#next++]!)
      else {
        this.#unheard.shift()
        this.#next = 0
      }
    }
    if (this.#unheard.length > 0) {
      this.#paused = true
      clock.setImmediate(this.#hearSome)
    } else if (this.#gone) this.#speaker.onGone()
  }

  /** Whether it keeps the thread alive. */
  set referenced(referenced: boolean) {
    if (referenced) this.#port.ref()
    else this.#port.unref()
  }

  /** Sends what is left, and takes nothing more. */
  close(): void {
    this.#flush()
    this.#closed = true
    if (this.#timer !== null) clock.clearTimeout(this.#timer)
    this.#timer = null
    this.#port.close()
  }
}
