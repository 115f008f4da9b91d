/**
 * What an error message may quote of its input. libpq quotes freely; here a piece is shown only when it cannot
 * be a piece of a password.
 */

/** What stands where a secret is. */
export const MASK = '***'

const PLAIN_WORD = /^[A-Za-z_][A-Za-z0-9_.-]{0,62}$/
/** After this, text may be the rest of a password: the name of a secret, or a URI where none belongs. */
const SECRET_START = /pass|pwd|secret|key|:\/\//i

/** Whether a text is a word like a parameter's name. */
export function isPlainWord(text: string): boolean {
  return PLAIN_WORD.test(text)
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
