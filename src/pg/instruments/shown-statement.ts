/**
 * Shows one statement to whatever has replaced pg's `query()`, at the moment when it is asked for and in its asker's
 * async context, and tells how it went once that is known. What is sent is the library's own: of what the instrument
 * makes of the statement only the text is taken.
 */
import { pg } from '../pg.js'
import { createResult } from '../driver.js'
import type { CustomTypesConfig } from 'pg'
import type { ConnectionFacts } from '../../api/manager.js'
import type { PatchedQuery } from './patched-query.js'

/** What instruments see of a statement. */
export interface Showable {
  readonly text: string
  readonly values: readonly unknown[]
  readonly name?: string | undefined
  readonly rowMode?: string | undefined
  readonly types?: CustomTypesConfig | undefined
}

export class ShownStatement {
  /** The statement's text, with what the instrument has added to it. */
  readonly text: string
  /** With this the instrument refuses the statement; null where it does not. */
  refusal: Error | null = null
  /** By this member the statement is known again, in whatever copy. */
  readonly #mark: object
  /** As it was asked for. */
  readonly #text: string
  readonly #queue: CapturedQuery[] = []
  /** What came of showing it, until it is told. */
  #captured: CapturedQuery[] = []
  #showing = true
  #outcome: readonly [error: unknown, result: unknown] | null = null

  constructor(patched: PatchedQuery, statement: Showable, facts: ConnectionFacts) {
    this.#text = statement.text
    this.#mark = Object.create(statement.types ?? pg.types) as object
    try {
      this.#show(patched, statement, facts)
    } catch {
      // The instrument's own fault: the statement goes without it.
    }
    this.#showing = false
    this.#sort()
    const captured = this.#captured[0]
    this.text = captured !== undefined && this.#holdsText(captured) ? (captured.text as string) : this.#text
  }

  #show(patched: PatchedQuery, statement: Showable, facts: ConnectionFacts): void {
    const { text, values, name, rowMode } = statement
    const config = {
      text,
      ...(values.length > 0 ? { values: [...values] } : {}),
      ...(name === undefined ? {} : { name }),
      ...(rowMode === undefined ? {} : { rowMode }),
      types: this.#mark,
    }
    const standIn = createStandIn(facts, this.#queue, () => this.#onQueued())
    const returned = patched.call(standIn, config, (error) => this.#onCalledBack(error))
    // What it returns is not used: the outcome is told to the query.
    Promise.resolve(returned).catch(() => {})
  }

  /** An instrument that guards the database calls back at once, and has put nothing into the queue. */
  #onCalledBack(error: unknown): void {
    if (!this.#showing || this.#queue.length > 0 || !error) return
    this.refusal = error instanceof Error ? error : new Error('the statement was refused', { cause: error })
  }

  /** Until the instrument has returned it looks for its query in the queue. */
  #onQueued(): void {
    if (!this.#showing) this.#sort()
  }

  /** Keeps the statement; the instrument's own ones are as good as done, since nothing of them is sent. */
  #sort(): void {
    for (const query of this.#queue.splice(0)) {
      // The mark may be lost in copying.
      const isIt = query.types === this.#mark || this.#holdsText(query)
      if (!isIt) tell(query, null, emptyResult())
      else if (this.#outcome === null) this.#captured.push(query)
      else tell(query, ...this.#outcome)
    }
  }

  /** An instrument may add to the text. What does not hold it is something else. */
  #holdsText({ text }: CapturedQuery): boolean {
    return this.#text !== '' && typeof text === 'string' && text.includes(this.#text)
  }

  /** Tells the instrument how the statement went; `result` is an empty one where it is not known. */
  settle(error: unknown, result: unknown = emptyResult()): void {
    if (this.#outcome !== null) return
    this.#outcome = [error, error === null ? result : undefined]
    const captured = this.#captured
    this.#captured = []
    for (const query of captured) tell(query, ...this.#outcome)
  }
}

/** As pg tells a query of its end. What an instrument throws then is its own affair and disturbs nobody. */
function tell(query: CapturedQuery, error: unknown, result: unknown): void {
  try {
    query.callback?.(error ?? null, result)
    // pg does not after an error; an instrument that waits for nothing else would wait for ever.
    query.emit?.('end', result)
  } catch {
    // See above.
  }
}

function emptyResult(): object {
  return createResult(undefined, pg.types)
}

// ---- what stands in for the client

/** A query of pg's, as it comes to lie in the queue. */
interface CapturedQuery {
  readonly text?: unknown
  readonly types?: unknown
  readonly callback?: ((error: unknown, result?: unknown) => void) | null
  emit?(event: string, ...args: unknown[]): unknown
}

type PgQuery = (this: object, ...given: unknown[]) => unknown

/**
 * Stands in for pg's client where something has replaced its `query()`: it has what instruments read of a client,
 * never a password, and a queue from which nothing is sent. `onQueued` is called when something was put there.
 */
function createStandIn(facts: ConnectionFacts, queue: CapturedQuery[], onQueued: () => void): object {
  const { host, port, user, database, processID } = facts
  const members = {
    ...{ host, port, user, database, processID },
    connectionParameters: { host, port, user, database },
    _Promise: Promise,
    _types: pg.types,
    _queryQueue: queue,
    // On the prototype these two are getters that warn.
    queryQueue: queue,
    activeQuery: null,
    _activeQuery: null,
    _sentQueryQueue: [],
    _connected: true,
    _queryable: true,
    _ending: false,
    // Several may lie in the queue.
    pipeline: true,
    _pulseQueryQueue: onQueued,
  }
  const standIn = Object.create(pg.Client.prototype, Object.getOwnPropertyDescriptors(members)) as object
  return withOldQuery(standIn, queue)
}

/**
 * A patch that keeps pg's function as `__query` (AWS X-Ray's) looks at what that returns, which with a callback is
 * the query in its pg, and nothing in ours.
 */
function withOldQuery(standIn: object, queue: readonly CapturedQuery[]): object {
  const { __query: original } = standIn as { __query?: PgQuery }
  if (typeof original !== 'function') return standIn
  const value = function (this: object, ...given: unknown[]): unknown {
    return original.apply(this, given) ?? queue.at(-1)
  }
  return Object.defineProperty(standIn, '__query', { value })
}
