/** The values of a statement, converted and checked when it is asked for: nothing of them can fail on the wire. */
import { prepareValue } from '../pg/driver.js'
import { MOST_VALUES, NO_VALUES } from '../pipeline/wire.js'
import type { WireValue } from '../api/statement.js'

/** The longest message that a server reads: its memory is given out in pieces of less than 1 GiB. */
const LONGEST_MESSAGE = 2 ** 30 - 2

/** What a Bind holds beside its values: names and counts. */
const FRAME_BYTES = 1_024

/** Converts what `query` was given. Throws a TypeError or RangeError, or what a value's own conversion throws. */
export function readValues(given: unknown): readonly WireValue[] {
  if (given == null) return NO_VALUES
  if (!Array.isArray(given)) throw new TypeError('Query values must be an array')
  const { length } = given
  if (length > MOST_VALUES) {
    throw new RangeError(`a statement takes at most ${MOST_VALUES} values, but was given ${length}`)
  }
  const values: WireValue[] = []
  // A character takes at most three bytes; to count them costs more than to see that they do not matter.
  let most = FRAME_BYTES
  // By index: a hole is a NULL, as in pg.
  for (let index = 0; index < length; index++) {
    const value = convert(given[index], index)
    values.push(value)
    if (value !== null) most += value.length * 3
  }
  if (most + length * 6 > LONGEST_MESSAGE) checkSize(values)
  return values
}

function convert(value: unknown, index: number): WireValue {
  const wire: unknown = prepareValue(value)
  if (typeof wire === 'string' || Buffer.isBuffer(wire)) return wire
  if (wire === null || wire === undefined) return null
  throw new TypeError(
    `value $${index + 1} cannot be sent: its conversion gave ${typeof wire === 'object' ? 'an object' : `a ${typeof wire}`}, not a string`,
  )
}

function checkSize(values: readonly WireValue[]): void {
  let bytes = FRAME_BYTES
  for (const value of values) bytes += 6 + (value === null ? 0 : Buffer.byteLength(value))
  checkBytes('the values of a statement', bytes)
}

/** Checks a text. Throws a RangeError. */
export function checkTextSize(text: string): void {
  if (text.length * 3 + FRAME_BYTES <= LONGEST_MESSAGE) return
  checkBytes('the text of a statement', Buffer.byteLength(text) + FRAME_BYTES)
}

function checkBytes(what: string, bytes: number): void {
  if (bytes <= LONGEST_MESSAGE) return
  throw new RangeError(
    `${what} may take at most ${LONGEST_MESSAGE} bytes, which is what a server reads, but takes ${bytes}`,
  )
}
