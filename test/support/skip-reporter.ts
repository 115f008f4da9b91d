/** A reporter that says nothing unless a test was skipped, and then makes the run fail. */
import type { TestEvent } from 'node:test/reporters'
import { describeReason } from './compact-reporter.js'

/** What the reporters read of node's events about tests. */
export default async function* failOnSkip(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of events) {
    if (event.type !== 'test:pass' || event.data.skip === undefined) continue
    process.exitCode = 1
    yield `skipped, which fails the run here: ${event.data.name}${describeReason(event.data)}\n`
  }
}
