/** Texts of others, made fit to be kept and shown: of bounded length, and without what would disturb a reader. */
import { inspect } from 'node:util'
import { describeThrown, isError, memberOf } from '../util/thrown.js'
import type { Failed } from './items.js'

/** How much of a text is kept: memory is bounded by the number of items only if each of them is small. */
const LENGTH = 2_000
const LABEL_LENGTH = 200

/** How many parameters are kept, and how much of each. */
const VALUES = 20
const VALUE_LENGTH = 100

/** Control characters, and those that turn the direction of the text around them. */
// oxlint-disable-next-line no-control-regex -- it is these that are looked for
const DISTURBING = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

export function shown(text: string, length = LENGTH): string {
  const cut = text.length > length ? `${text.slice(0, length)}…` : text
  return cut.replace(DISTURBING, '\ufffd')
}

export function shownLabel(label: string | null): string | null {
  return label === null ? null : shown(label, LABEL_LENGTH)
}

/** Parameters as a reader would write them; a value of the user's own is never called to describe itself. */
export function shownValues(values: readonly unknown[]): string {
  const each = values.slice(0, VALUES).map((value) => {
    const options = { depth: 1, customInspect: false, getters: false, maxArrayLength: 10 }
    return inspect(value, { ...options, maxStringLength: VALUE_LENGTH, breakLength: Infinity })
  })
  const more = values.length > VALUES ? `, and ${values.length - VALUES} more` : ''
  return shown(`[${each.join(', ')}${more}]`)
}

export function failedWith(error: unknown): Failed {
  const name = memberOf(error, 'name')
  const code = memberOf(error, 'code')
  return {
    name: shown(isError(error) && typeof name === 'string' ? name : 'a thrown value', LABEL_LENGTH),
    code: typeof code === 'string' ? shown(code, LABEL_LENGTH) : null,
    message: shown(String(describeThrown(error))),
  }
}
