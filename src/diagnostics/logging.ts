/** Writes what a manager tells its listeners into a log, too. */
import { debuglog } from 'node:util'
import { named } from '../util/describe-holder.js'
import { clock } from '../util/clock.js'
import { quoteStatement } from '../util/quote-statement.js'
import type { EventSink } from '../api/ports.js'
import type { HoldWarningEvent, ManagedConnectionEvents } from '../events.js'
import type { Logger } from '../options.js'

type Level = keyof Logger
type Line = readonly [level: Level, text: string]

/** Reasons for a rollback that somebody has had an error for, and nobody has to look into. */
const TOLD: ReadonlySet<string> = new Set(['error', 'aborted'])

/** How each event is written; null where there is nothing to write. */
const LINES: {
  readonly [K in keyof ManagedConnectionEvents]?: (...args: ManagedConnectionEvents[K]) => Line | null
} = {
  connect: ({ processID, reconnected, openedMillis }) => [
    reconnected ? 'info' : 'debug',
    `connected${reconnected ? ' again' : ''} to server process ${processID} in ${Math.round(openedMillis)}ms`,
  ],
  connectError: (error) => ['warn', `the connection could not be opened: ${error.message}`],
  disconnect: (error) => [
    'info',
    error === undefined ? 'the connection was closed' : `the connection was lost: ${error.message}`,
  ],
  // Where the callback threw or was given up, its caller has been told; the others are mistakes in the program.
  rollback: ({ reason, label, statement, error }) => [
    error === undefined && TOLD.has(reason) ? 'debug' : 'warn',
    `rolled back${label === null ? '' : ` for ${JSON.stringify(label)}`} (${reason})${opened(statement)}${because(error)}`,
  ],
  holdWarning: (event) => ['warn', describeHold(event)],
  endWaiting: ({ millis, label, heldMillis, waiting, statement, stack }) => [
    'warn',
    `end() has waited for ${millis}ms: ` +
      (heldMillis === null ? '' : `${who(label)}has held the connection for ${heldMillis}ms; `) +
      `${waiting} wait in line${running(statement)}${at(stack)}`,
  ],
  commitVerified: ({ outcome, millis }) => [
    'info',
    `a COMMIT whose answer was lost was found out about in ${Math.round(millis)}ms: ${outcome}`,
  ],
}

function describeHold({
  heldMillis,
  label,
  statement,
  stack,
  returned,
  takenBack,
}: HoldWarningEvent): string {
  if (returned) return `${who(label)}returned the connection after ${heldMillis}ms`
  if (takenBack) return `the connection was taken back from ${whom(label)} after ${heldMillis}ms${at(stack)}`
  return `${who(label)}has held the connection for ${heldMillis}ms${running(statement)}${at(stack)}`
}

const who = (label: string | null): string => (label === null ? 'somebody ' : named(label))
const whom = (label: string | null): string => (label === null ? 'somebody' : JSON.stringify(label))
const opened = (statement: string | null): string =>
  statement === null ? '' : `; opened by: ${quoteStatement(statement)}`
const running = (statement: string | null): string =>
  statement === null ? '' : `, running: ${quoteStatement(statement)}`
const because = (error: Error | undefined): string =>
  error === undefined ? '' : `; the rollback failed: ${error.message}`
const at = (stack: string | null): string => (stack === null ? '' : `; acquired at:\n${stack}`)

/** The words of a warning of the process are those of the log. */
export function describeEndWaiting(...args: ManagedConnectionEvents['endWaiting']): string {
  return LINES.endWaiting!(...args)![1]
}

const debug = debuglog('pg-managed-connection')

/** The same sink where nothing is to be logged: without a `logger`, and without `NODE_DEBUG=pg-managed-connection`. */
export function logged(events: EventSink, logger: Logger | undefined): EventSink {
  if (logger === undefined && !debug.enabled) return events
  return {
    ...events,
    // What is in the log need not be a warning of the process, too.
    listens: (event) => (event === 'endWaiting' && logger !== undefined) || events.listens(event),
    tell: (event, ...args) => {
      const line = LINES[event]?.(...args)
      if (line != null) write(line, logger)
      events.tell(event, ...args)
    },
  }
}

/** A logger that throws disturbs nobody; its error comes to light like that of a listener. */
function write([level, text]: Line, logger: Logger | undefined): void {
  debug('%s', text)
  try {
    logger?.[level](`pg-managed-connection: ${text}`)
  } catch (error) {
    clock.nextTick(() => {
      throw error
    })
  }
}
