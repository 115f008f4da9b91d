/** A reporter for other programs: a line of JSON for each test that has ended, as soon as it has. */
import type { TestEvent } from 'node:test/reporters'

/** What became of a test. */
export interface TestRecord {
  readonly name: string
  readonly outcome: 'passed' | 'failed' | 'skipped'
  /** Why it was skipped, where it says so. */
  readonly reason?: string
}

/** Writes {@link TestRecord}s. */
export default async function* recordTests(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const { type, data } of events) {
    if (type !== 'test:pass' && type !== 'test:fail') continue
    // A file, or a test that has others in it: those are counted.
    if (data.details.type === 'suite') continue
    yield `${JSON.stringify(recordOf(type, data))}\n`
  }
}

function recordOf(
  type: 'test:pass' | 'test:fail',
  { name, skip }: Extract<TestEvent, { type: 'test:pass' }>['data'],
): TestRecord {
  if (type === 'test:fail') return { name, outcome: 'failed' }
  if (skip === undefined || skip === false) return { name, outcome: 'passed' }
  return { name, outcome: 'skipped', reason: skip === true || skip === '' ? 'no reason is given' : skip }
}
