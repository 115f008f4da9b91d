/** The frames of what a server sends: what libpq would not take is refused, however it is cut into chunks. */
import assert from 'node:assert/strict'
import { backend, int32, message } from '../support/backend-messages.js'
import { Random } from '../support/random.js'
import { leakTest } from '../support/suite.js'
import { internal } from '../support/internals.js'

const { Framing, LONGEST_ROW } = await internal('framing')

const test = leakTest()

type FramingOf = InstanceType<typeof Framing>

/** Reads; gives what is passed on. */
function check(
  framing: FramingOf,
  chunk: Buffer,
  onRowTooLong: (bytes: number) => void = () => assert.fail(),
): Buffer {
  const passed: Buffer[] = []
  framing.read(chunk, { pass: (part) => passed.push(part), onRowTooLong })
  return Buffer.concat(passed)
}

const LOGIN = [backend.authenticationOk, backend.backendKeyData(1, 2), backend.readyForQuery('I')]

/** All that a server may say of its own accord, and an answer of each kind. */
const LEGAL = Buffer.concat([
  ...LOGIN,
  backend.parameterStatus('search_path', 'x'.repeat(40_000)),
  backend.notice('00000', 'n'.repeat(40_000), 'NOTICE'),
  backend.notification(1, 'channel', 'p'.repeat(8_000)),
  backend.parseComplete,
  backend.bindComplete,
  backend.closeComplete,
  backend.noData,
  backend.emptyQuery,
  backend.rowDescription(Array.from({ length: 1_600 }, (_, i) => `a_column_with_a_long_name_${i}`)),
  backend.dataRow(['']),
  backend.dataRow(['x'.repeat(100_000)]),
  message('t', Buffer.alloc(2 + 4 * 65_535)),
  message('d', Buffer.alloc(100_000)),
  message('E', Buffer.of(0)),
  message('E', Buffer.from('M\0\0')),
  backend.error('XX000', 'e'.repeat(40_000)),
  backend.commandComplete('SELECT 1'),
  backend.readyForQuery('T'),
])

const head = (letter: string, length: number): Buffer => Buffer.concat([Buffer.from(letter), int32(length)])

/** What no server says once a client is logged in, and what is said of it. */
const ILLEGAL: readonly (readonly [bytes: Buffer, complaint: RegExp])[] = [
  [Buffer.from('HTTP/1.1 400'), /a message of type H and 1414811695 bytes/],
  [head('?', 4), /the unknown type 0x3f/],
  [head('\0', 0), /the unknown type 0x00/],
  [head('C', 3), /a message of type C and 3 bytes/],
  [head('C', 0), /a message of type C and 0 bytes/],
  [head('D', -1), /a message of type D and 4294967295 bytes/],
  [head('D', 0x7fffffff), /a message of type D and 2147483647 bytes/],
  [head('Z', 30_001), /a message of type Z and 30001 bytes/],
  [message('R', 3), /login after the login/],
  [backend.backendKeyData(1, 2), /login after the login/],
  [message('E'), /without its end/],
  [message('E', Buffer.of(1)), /without its end/],
  [message('E', Buffer.from('Mx')), /without its end/],
  [message('E', Buffer.from('Mx\0')), /without its end/],
  [message('N', Buffer.from('Mx\0\x01')), /without its end/],
]

test('all that a server may say passes as it is, cut anywhere', () => {
  assert.ok(check(new Framing(), LEGAL).equals(LEGAL))
  for (const size of [1, 2, 3, 4, 5, 7, 64, 16_384]) {
    const framing = new Framing()
    const passed: Buffer[] = []
    for (let at = 0; at < LEGAL.length; at += size) passed.push(check(framing, LEGAL.subarray(at, at + size)))
    assert.ok(Buffer.concat(passed).equals(LEGAL), `in pieces of ${size}`)
  }
})

test('the untranslated severity of each error is read, cut anywhere', () => {
  const fields = (...parts: string[]): Buffer => message('E', Buffer.from(`${parts.join('\0')}\0\0`))
  const bytes = Buffer.concat([
    fields('SFEHLER', 'VERROR', 'C42601'),
    backend.notice('00000', 'n', 'NOTICE'),
    fields('SFATAL', 'C57P01'),
    fields(`S${'\u0412\u0410\u0416\u041d\u041e'}`, 'VFATAL', 'C57P01', `M${'x'.repeat(1_000)}`),
  ])
  for (let size = 1; size <= bytes.length; size++) {
    const framing = new Framing()
    for (let at = 0; at < bytes.length; at += size) check(framing, bytes.subarray(at, at + size))
    assert.deepEqual(framing.severities, ['ERROR', '', 'FATAL'])
  }
})

test('a row longer than any string is left out, and nothing before or behind it, wherever it is cut', () => {
  const before = Buffer.concat([...LOGIN, backend.dataRow(['before'])])
  const behind = Buffer.concat([backend.dataRow(['behind']), backend.readyForQuery('I')])
  const header = head('D', LONGEST_ROW + 1)
  const filling = Buffer.alloc(2 ** 24)
  for (const cut of [1, 3, 5, before.length + 2, before.length + header.length]) {
    const framing = new Framing()
    const told: number[] = []
    const passed: Buffer[] = []
    const read = (chunk: Buffer): void => {
      passed.push(check(framing, chunk, (bytes) => told.push(bytes)))
    }
    const start = Buffer.concat([before, header])
    read(start.subarray(0, cut))
    if (cut < start.length) read(start.subarray(cut))
    for (let left = LONGEST_ROW - 3; left > 0; left -= filling.length) {
      const chunk = filling.subarray(0, left)
      read(left > filling.length ? chunk : Buffer.concat([chunk, behind]))
    }
    assert.deepEqual(told, [LONGEST_ROW - 3])
    assert.ok(Buffer.concat(passed).equals(Buffer.concat([before, behind])), `cut at ${cut}`)
  }
})

for (const [bytes, complaint] of ILLEGAL) {
  test(`refused: ${JSON.stringify(bytes.toString('latin1'))}`, () => {
    for (let size = 1; size <= bytes.length; size++) {
      const framing = new Framing()
      for (const legal of LOGIN) check(framing, legal)
      assert.throws(
        () => {
          for (let at = 0; at < bytes.length; at += size) check(framing, bytes.subarray(at, at + size))
        },
        { message: complaint },
      )
    }
  })
}

test('a place at random, a chunk at random: the same verdict as in one piece', () => {
  const random = new Random(20261124)
  for (let trial = 0; trial < 300; trial++) {
    const bytes = Buffer.concat(LOGIN.concat(backend.error('XX000', 'why'), backend.dataRow(['abc', 'd'])))
    bytes[random.below(bytes.length)] = random.below(256)
    const verdict = (size: () => number): string => {
      const framing = new Framing()
      try {
        for (let at = 0; at < bytes.length;) {
          const next = at + size()
          check(framing, bytes.subarray(at, next))
          at = next
        }
        return 'passed'
      } catch (error) {
        return (error as Error).message
      }
    }
    assert.equal(
      verdict(() => 1 + random.below(9)),
      verdict(() => bytes.length),
    )
  }
})
