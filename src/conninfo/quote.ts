/**
 * What an error message may quote of its input. libpq quotes freely; here a piece is shown only when it cannot
 * be a piece of a password.
 */

/** What stands where a secret is. */
export const MASK = '***'

const PLAIN_WORD = /^[A-Za-z_][A-Za-z0-9_.-]{0,62}$/
const SECRET_NAME = /pass|pwd|secret|key/i

/** A parameter's name as a message quotes it; `before` is the input that came before it. */
export function quoteName(name: string, before: string): string {
  return PLAIN_WORD.test(name) && !SECRET_NAME.test(before) ? name : MASK
}

/** A rejected value as a message quotes it: a short word or number, else only the mask. */
export function quoteValue(value: string): string {
  return value === '' || /^[+-]?[A-Za-z0-9_.,!-]{1,40}$/.test(value) ? value : MASK
}

/** Whether a text that is not itself a secret looks as if it held one. */
export function mayHoldSecret(text: string): boolean {
  return SECRET_NAME.test(text) || /:[^@]*@/.test(text)
}
