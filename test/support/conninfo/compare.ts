/** Puts our answer beside libpq's. */
import assert from 'node:assert/strict'
import { ConninfoError, parseConninfo } from 'pg-managed-connection/conninfo'
import type { Answer } from './oracle.js'

/** What our parser says, in the oracle's form; anything that is thrown but a ConninfoError fails the test. */
function ourAnswer(conninfo: string): Record<string, string> | ConninfoError {
  try {
    return parseConninfo(conninfo)
  } catch (error) {
    assert.ok(error instanceof ConninfoError, `${JSON.stringify(conninfo)} threw ${String(error)}`)
    return error
  }
}

/** Fails unless we refuse what libpq refuses and read what it accepts the same way. */
export function assertSameAnswer(conninfo: string, expected: Answer): void {
  const actual = ourAnswer(conninfo)
  const about = `${JSON.stringify(conninfo)}\n  libpq: ${show(expected)}\n  ours:  ${show(actual)}`
  // A value that is no valid UTF-8 does not fit a JavaScript string; it is refused.
  if (expected === 'unspeakable' || expected instanceof Error) assert.ok(actual instanceof Error, about)
  else assert.deepEqual(actual, expected, about)
}

function show(answer: Answer): string {
  return answer instanceof Error ? answer.message : JSON.stringify(answer)
}
