/**
 * The prepared statements of one backend that users named. What pg knows of them (it has them where a submittable or
 * `onConnect` prepared one) is kept in pg's own place, so that both know the same.
 */
import { shareNamedStatements } from '../pg/patches.js'
import type { Statement } from '../api/statement.js'
import type { DriverConnection } from '../pg/driver.js'

/** The server looks at no more of a name: NAMEDATALEN, less one. */
const NAME_BYTES = 63

export class NamedStatements {
  /** The texts of the names that the server has, by name. */
  readonly #parsed: Record<string, string>
  /** Those whose Parse is on its way. */
  readonly #sent = new Map<string, string>()
  /** Names that the server may or may not have: they are closed before they are parsed. */
  readonly #doubtful = new Set<string>()

  constructor(connection: DriverConnection) {
    this.#parsed = shareNamedStatements(connection)
  }

  /** Why statements cannot be sent, in this order, under the names that they have; null when they can. */
  conflict(statements: readonly Statement[]): Error | null {
    /** The names that the earlier ones add. */
    let brought: Map<string, string> | null = null
    for (const { name, text } of statements) {
      if (name === undefined) continue
      const key = keyOf(name)
      const previous = this.#textOf(key) ?? brought?.get(key)
      if (previous !== undefined && text !== '' && text !== previous) {
        // pg's own rule, in its words.
        return new Error(`Prepared statements must be unique - '${name}' was used for a different statement`)
      }
      if (statements.length > 1) (brought ??= new Map()).set(key, previous ?? text)
    }
    return null
  }

  #textOf(key: string): string | undefined {
    return this.#parsed[key] ?? this.#sent.get(key)
  }

  /** How a statement begins that is to run under `name`. A name without a text is left for the server to know. */
  use(name: string, text: string): 'bind' | 'parse' | 'close and parse' {
    const key = keyOf(name)
    if (text === '' || this.#textOf(key) !== undefined) return 'bind'
    this.#sent.set(key, text)
    return this.#doubtful.delete(key) ? 'close and parse' : 'parse'
  }

  /** A statement under `name` has run, so that the server has it; or it failed, and nobody knows how far it had come. */
  ran(name: string, completed: boolean): void {
    const key = keyOf(name)
    const text = this.#sent.get(key)
    this.#sent.delete(key)
    if (!completed) this.#doubt(key)
    else if (text !== undefined) this.#parsed[key] = text
  }

  #doubt(key: string): void {
    delete this.#parsed[key]
    this.#doubtful.add(key)
  }

  /** Something has dropped one of them, or all. */
  doubtAll(): void {
    for (const key of Object.keys(this.#parsed)) this.#doubt(key)
  }
}

function keyOf(name: string): string {
  // Most names are far too short to be cut.
  return name.length * 3 <= NAME_BYTES ? name : Buffer.from(name).subarray(0, NAME_BYTES).toString('latin1')
}
