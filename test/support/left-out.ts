/** Tests that another runtime than Node cannot run: whoever starts the tests there says which, and why. */
import { readFileSync } from 'node:fs'

/** The variable that names a file with the sentences of tests, each with the reason: `{"it waits": "no timers"}`. */
export const LEFT_OUT_VARIABLE = 'TEST_LEFT_OUT'

const file = process.env[LEFT_OUT_VARIABLE]
const reasons = new Map<string, string>(
  file ? Object.entries(JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>) : [],
)

/** Null where the test is to run. */
export function whyLeftOut(sentence: string): string | null {
  return reasons.get(sentence) ?? null
}
