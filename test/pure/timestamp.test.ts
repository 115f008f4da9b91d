/** Timestamps are read as pg's own parser reads them, whatever the text. */
import assert from 'node:assert/strict'
import pg from 'pg'
import { Random } from '../support/random.js'
import { leakTest } from '../support/suite.js'
import { internal } from '../support/internals.js'

const { parseTimestamp, quickParser } = await internal('timestamp')

const test = leakTest()
const TIMESTAMPTZ = pg.types.builtins.TIMESTAMPTZ
const parseByPg = pg.types.getTypeParser(TIMESTAMPTZ, 'text') as (text: string) => unknown

const TEXTS = 20_000
const SEED = Number(process.env['STRESS_SEED'] || Math.floor(Math.random() * 2 ** 31))

function assertSame(text: string): void {
  assert.deepEqual(
    comparable(parseTimestamp(text)),
    comparable(parseByPg(text)),
    `${text} (STRESS_SEED=${SEED})`,
  )
}

/** Two invalid dates are equal here. */
function comparable(value: unknown): unknown {
  return value instanceof Date ? { millis: value.getTime() } : value
}

test('timestamps of every form and every place', () => {
  for (const text of [
    '2026-01-31 12:34:56+00',
    '2026-01-31 12:34:56.789-08',
    '2026-01-31 12:34:56.123456+05:30',
    '1890-01-01 00:00:00+00:19:32',
    '1890-01-01 00:00:00-00:19:32',
    '2026-01-31 12:34:56',
    '2026-01-31 12:34:56.1',
    '2026-01-31',
    '0001-01-01 00:00:00+00',
    '0099-12-31 23:59:59+00',
    '0100-01-01 00:00:00+00',
    '10000-01-01 00:00:00+00',
    '294276-12-31 23:59:59.999999+00',
    '4713-01-01 00:00:00+00 BC',
    'infinity',
    '-infinity',
    'Sat 31 Jan 12:34:56 2026 UTC',
    '01/31/2026 12:34:56 UTC',
    '',
  ]) {
    assertSame(text)
  }
})

test('random texts, well-formed and spoiled', () => {
  const random = new Random(SEED)
  for (let count = 0; count < TEXTS; count++) assertSame(randomText(random))
})

test('only pg’s own parser is replaced', () => {
  const own = (text: string): string => text
  assert.equal(quickParser(own), own)
  assert.equal(quickParser(parseByPg), parseTimestamp)
})

function randomText(random: Random): string {
  const digits = (count: number, below: number): string => String(random.below(below)).padStart(count, '0')
  let text = `${digits(4, random.chance(0.9) ? 3_000 : 20_000)}-${digits(2, 14)}-${digits(2, 33)}`
  text += ` ${digits(2, 25)}:${digits(2, 61)}:${digits(2, 61)}`
  if (random.chance(0.5)) text += `.${digits(6, 1_000_000).slice(0, 1 + random.below(7))}`
  if (random.chance(0.7)) text += (random.chance(0.5) ? '+' : '-') + digits(2, 16)
  if (random.chance(0.4)) text += `:${digits(2, 60)}`
  if (random.chance(0.2)) text += `:${digits(2, 60)}`
  if (random.chance(0.05)) text += ' BC'
  if (random.chance(0.9)) return text
  const at = random.below(text.length)
  return text.slice(0, at) + String.fromCharCode(0x20 + random.below(0x60)) + text.slice(at + 1)
}
