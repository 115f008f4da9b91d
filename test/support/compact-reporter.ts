/**
 * A reporter for logs: a dot for each test that passes, node's closing summary, and failures in full; these once more
 * at the end, their names last of all, because who keeps only a part of a log keeps its end.
 */
import type { TestEvent } from 'node:test/reporters'
import { relative } from 'node:path'
import { inspect } from 'node:util'

const DOTS_A_LINE = 80

type Failure = Extract<TestEvent, { type: 'test:fail' }>['data']

/** Writes what a log needs: that it goes on, what failed and why, and the numbers. */
export default async function* reportCompactly(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const failures: string[] = []
  const names: string[] = []
  let dots = 0
  const newLine = (): string => {
    const end = dots % DOTS_A_LINE > 0 ? '\n' : ''
    dots = 0
    return end
  }
  for await (const event of events) {
    switch (event.type) {
      case 'test:pass':
        if (isSkipped(event.data)) {
          yield `${newLine()}﹣ skipped: ${event.data.name}${describeReason(event.data)}\n`
        } else {
          yield ++dots % DOTS_A_LINE === 0 ? '.\n' : '.'
        }
        break
      case 'test:fail':
        if (!isConsequence(event.data)) {
          const failure = describeFailure(event.data)
          failures.push(failure)
          names.push(nameFailure(event.data))
          yield newLine() + failure
        }
        break
      case 'test:diagnostic':
        yield `${newLine()}ℹ ${event.data.message}\n`
        break
      case 'test:stdout':
      case 'test:stderr':
        yield newLine() + event.data.message
        break
      default:
    }
  }
  if (failures.length > 0) yield `\nWhat failed, once more:\n\n${failures.join('')}${names.join('')}`
}

function isSkipped({ skip }: { skip?: string | boolean }): boolean {
  return skip !== undefined && skip !== false
}

/** Why a test was skipped, where it says so. */
export function describeReason({ skip }: { skip?: string | boolean }): string {
  return typeof skip === 'string' && skip !== '' ? ` (${skip})` : ''
}

/** A test which failed only because tests in it did; those are reported themselves. */
function isConsequence({ details }: Failure): boolean {
  return (details.error as { failureType?: string }).failureType === 'subtestsFailed'
}

/** A failed test in one line: its name, where it stands, and the first line of why. */
function nameFailure({ name, file, line, details }: Failure): string {
  const [reason] = ((details.error.cause as Error | undefined) ?? details.error).toString().split('\n')
  const place =
    file === undefined ? '' : ` (${relative(process.cwd(), file)}${line === undefined ? '' : `:${line}`})`
  return `✖ ${name}${place}: ${reason}\n`
}

function describeFailure({ name, details }: Failure): string {
  const reason = inspect(details.error.cause ?? details.error, { colors: false }).replace(/^/gm, '  ')
  return `✖ ${name} (${Math.round(details.duration_ms)} ms)\n${reason}\n\n`
}
