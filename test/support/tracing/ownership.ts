/** Whose the statements of a traced program are, by its spans. */
import assert from 'node:assert/strict'
import type { SpanRecord } from './program.js'

/** The tracer's name for the spans of callers. */
const PROGRAM = 'program'

/**
 * Every span has ended, its parent is there, connections belong to nobody, and the statements that each of `makers` has
 * made spans of are those of `expected`: the texts by the caller in whose span they lie.
 */
export function assertOwned(
  spans: readonly SpanRecord[],
  makers: readonly string[],
  expected: Readonly<Record<string, readonly string[]>>,
): void {
  const byID = new Map(spans.map((span) => [span.id, span]))
  const left = spans.filter(({ ended, parent }) => !ended || (parent !== null && !byID.has(parent)))
  assert.deepEqual(left, [], 'spans that were left open, or whose parent is nowhere')
  const connecting = spans.filter(({ name, by }) => name === 'pg.connect' || by === 'net')
  assert.ok(connecting.length > 0)
  assert.deepEqual(
    connecting.filter(({ parent }) => parent !== null),
    [],
    'connections',
  )
  for (const maker of makers) {
    const owned: Record<string, string[]> = {}
    for (const span of spans) {
      if (span.by === maker && span.text !== null)
        (owned[ownerOf(span, byID)] ??= []).push(...textsOf(span.text))
    }
    assert.deepEqual(sorted(owned), sorted(expected), `the spans of ${maker}`)
  }
}

function ownerOf({ parent }: SpanRecord, byID: ReadonlyMap<string, SpanRecord>): string {
  if (parent === null) return 'nobody'
  const around = byID.get(parent)!
  return around.by === PROGRAM ? around.name : ownerOf(around, byID)
}

/** Of a batch several. A comment in front is the tracer's. */
function textsOf(text: string): string[] {
  return text.split('; ').map((one) => one.replace(/^\/\*.*?\*\/ /, ''))
}

function sorted(owned: Readonly<Record<string, readonly string[]>>): Record<string, string[]> {
  return Object.fromEntries(
    Object.entries(owned)
      .map(([owner, texts]) => [owner, texts.toSorted()] as const)
      .toSorted(([one], [other]) => (one < other ? -1 : 1)),
  )
}

/** The texts of the statements whose spans say that they have failed. */
export function failedTexts(spans: readonly SpanRecord[], maker: string): string[] {
  const failed = spans.filter(({ by, text, failed: hasFailed }) => by === maker && text !== null && hasFailed)
  return failed.flatMap(({ text }) => textsOf(text!)).toSorted()
}
