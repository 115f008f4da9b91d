import type { WriteStream } from 'node:tty'
import type { OpenStep } from '../connect/index.js'

/** A check that is over sooner needs no word in between. */
const PATIENCE_MILLIS = 500

/** Back to the beginning of the line, and clear it. */
const CLEAR = '\r\x1b[K'

/** Says on a terminal what is waited for, on one line that it takes away in the end. */
export class Progress {
  readonly #stream: Partial<WriteStream> & { write(text: string): unknown }
  #timer: NodeJS.Timeout | null = null
  #doing = 'reading the connection parameters'
  #since = performance.now()
  #shown = false

  constructor(stream: Partial<WriteStream> & { write(text: string): unknown }) {
    this.#stream = stream
  }

  start(): void {
    if (this.#stream.isTTY === true) this.#timer = setInterval(() => this.#show(), PATIENCE_MILLIS)
  }

  /** To be handed to `check`. */
  readonly onStep = (step: OpenStep): void => {
    if (step.kind === 'failed') return
    this.#doing = describe(step)
    this.#since = performance.now()
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    if (this.#shown) this.#stream.write(CLEAR)
  }

  #show(): void {
    const seconds = ((performance.now() - this.#since) / 1000).toFixed(1)
    const room = (this.#stream.columns ?? 80) - 1
    // What a server or a parameter says must not steer the terminal.
    const text = `${this.#doing}, for ${seconds} s`.replace(/[\p{Cc}\p{Cf}]/gu, ' ')
    this.#stream.write(`${CLEAR}${text.slice(0, room)}`)
    this.#shown = true
  }
}

function describe(step: Exclude<OpenStep, { kind: 'failed' }>): string {
  if (step.kind === 'look-up') return `looking up ${step.host}`
  const { host, address = host, socket, port } = step.target
  const where = socket ?? `${host === '' ? address : host}, port ${port}`
  if (step.kind === 'attempt') return `connecting to ${where}`
  if (step.kind === 'reached') return `waiting for ${where} to let us in`
  return `asking ${where} about the session`
}
