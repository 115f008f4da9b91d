import { inspect } from 'node:util'
import { MASK } from './quote.js'

/** A text that shows itself only when asked: not in an inspection, not in JSON, not in a template string. */
export class Secret {
  readonly #text: string

  constructor(text: string) {
    this.#text = text
  }

  /** The text itself. */
  reveal(): string {
    return this.#text
  }

  toString(): string {
    return MASK
  }

  toJSON(): string {
    return MASK
  }

  [inspect.custom](): string {
    return MASK
  }
}
