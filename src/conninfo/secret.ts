/**
 * What may be shown. libpq quotes its input freely in messages; here a piece of it is shown only when it cannot be a
 * piece of a password.
 */
import { inspect } from 'node:util'

/** What stands where a secret is. */
export const MASK = '***'

/** A text that shows itself only when asked: not in an inspection, not in JSON, not in a template string. */
export class Secret {
  readonly #text: string

  constructor(text: string) {
    this.#text = text
  }

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

/** After this, text may be the rest of a password: the name of a secret, or a URI where none belongs. */
const SECRET_START = /pass|pwd|secret|key|:\/\//i

/** Whether a text is a word like a parameter's name. */
export function isPlainWord(text: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_.-]{0,62}$/.test(text)
}

/** A parameter's name as a message quotes it; `before` is the input that came before it. */
export function quoteName(name: string, before: string): string {
  return isPlainWord(name) && !SECRET_START.test(before) ? name : MASK
}

/** A rejected value as a message quotes it: a short word or number, else only the mask. */
export function quoteValue(value: string): string {
  return value === '' || /^[+-]?[A-Za-z0-9_.,!-]{1,40}$/.test(value) ? value : MASK
}

/** Whether a text that is not itself a secret looks as if it held one. */
export function mayHoldSecret(text: string): boolean {
  const colon = text.indexOf(':')
  return SECRET_START.test(text) || (colon >= 0 && text.includes('@', colon))
}
