/** Shows what callers ask for to whatever has replaced pg's `query()`, and reads what that makes of the texts. */
import { patchedQuery } from '../pg/instruments/patched-query.js'
import { ShownStatement } from '../pg/instruments/shown-statement.js'
import { statementOf } from '../pipeline/submittable-request.js'
import { withText } from './read-call.js'
import { describeThrown, isError } from '../util/thrown.js'
import type { ConnectionFacts } from '../api/manager.js'
import type { DriverSubmittable, OutcomeWatch } from '../api/ports.js'
import type { StatementCall } from '../api/statement.js'
import type { ClassifiedTexts } from '../sql/classify.js'

/** Calls as they are to be sent, and the instruments that are told how they went. */
export class ShownCalls implements OutcomeWatch {
  readonly calls: readonly StatementCall[]
  readonly #shown: readonly ShownStatement[]

  constructor(calls: readonly StatementCall[], shown: readonly ShownStatement[]) {
    this.calls = calls
    this.#shown = shown
  }

  /** The outcome of the one call, told on the way. */
  follow<T>(answered: Promise<T>): Promise<T> {
    return this.#follow(answered, (result) => [result])
  }

  /** The outcomes of them all. */
  followAll<T>(answered: Promise<T[]>): Promise<T[]> {
    return this.#follow(answered, (results) => results)
  }

  #follow<T>(answered: Promise<T>, listed: (result: T) => readonly unknown[]): Promise<T> {
    return answered.then(
      (result) => {
        const results = listed(result)
        this.#shown.forEach((shown, index) => shown.settle(null, results[index]))
        return result
      },
      (error: unknown) => {
        this.settle(error)
        throw error
      },
    )
  }

  /** Tells how they all went where nobody knows more than that: with an error, or null for none. */
  settle(error: unknown): void {
    // A signal may abort with anything, null among it.
    const told = error === null || isError(error) ? error : new Error(describeThrown(error))
    for (const shown of this.#shown) shown.settle(told)
  }
}

export class Instruments {
  readonly #texts: ClassifiedTexts
  readonly #facts: () => ConnectionFacts

  constructor(texts: ClassifiedTexts, facts: () => ConnectionFacts) {
    this.#texts = texts
    this.#facts = facts
  }

  /**
   * Null while nothing is patched.
   *
   * @throws what an instrument refuses the statement with
   */
  show(call: StatementCall): ShownCalls | null {
    return patchedQuery() === null ? null : this.showAll([call])
  }

  /** The same of several. */
  showAll(calls: readonly StatementCall[]): ShownCalls | null {
    const patched = patchedQuery()
    if (patched === null) return null
    const shown: ShownStatement[] = []
    for (const { statement } of calls) {
      const one = new ShownStatement(patched, statement, this.#facts())
      if (one.refusal !== null) {
        for (const before of shown) before.settle(one.refusal)
        throw one.refusal
      }
      shown.push(one)
    }
    const asked = calls.map((call, index) => withText(call, shown[index]!.text, this.#texts))
    return new ShownCalls(asked, shown)
  }

  /**
   * Shows a cursor, a stream or COPY as the statement that it sends; its text stays as it is. Null while nothing is patched.
   *
   * @throws what an instrument refuses it with
   */
  showSubmittable(submittable: DriverSubmittable): ShownStatement | null {
    const patched = patchedQuery()
    const statement = patched === null ? null : statementOf(submittable)
    if (patched === null || statement === null) return null
    const shown = new ShownStatement(patched, statement, this.#facts())
    if (shown.refusal !== null) throw shown.refusal
    return shown
  }
}
