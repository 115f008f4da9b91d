/**
 * The prepared statements of one backend that users named. What pg knows of them (it has them where a submittable or
 * `onConnect` prepared one) is kept in pg's own place, so that both know the same.
 */
import { shareNamedStatements } from '../pg/patches.js'
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
  conflict(statements: readonly NamedText[]): Error | null {
    /** The names that the earlier ones add. */
    let brought: Map<string, string> | null = null
    for (const { name, text } of statements) {
      if (name === undefined) continue
      const key = keyOf(name)
      const previous = this.#parsed[key] ?? this.#sent.get(key) ?? brought?.get(key)
      if (previous !== undefined && text !== '' && text !== previous) return notUnique(name)
      if (statements.length > 1) (brought ??= new Map()).set(key, previous ?? text)
    }
    return null
  }

  /** How a statement begins that is to run under `name`. A name without a text is left for the server to know. */
  use(name: string, text: string): 'bind' | 'parse' | 'close and parse' {
    const key = keyOf(name)
    if (text === '' || this.#parsed[key] !== undefined || this.#sent.has(key)) return 'bind'
    this.#sent.set(key, text)
    return this.#doubtful.delete(key) ? 'close and parse' : 'parse'
  }

  /** A statement under `name` has run: so the server has it. */
  confirm(name: string): void {
    const key = keyOf(name)
    const text = this.#sent.get(key)
    if (text === undefined) return
    this.#sent.delete(key)
    this.#parsed[key] = text
  }

  /** A statement under `name` failed, and nobody knows how far it had come. */
  doubt(name: string): void {
    const key = keyOf(name)
    this.#sent.delete(key)
    delete this.#parsed[key]
    this.#doubtful.add(key)
  }

  /** Something has dropped one of them, or all. */
  doubtAll(): void {
    for (const key of Object.keys(this.#parsed)) {
      delete this.#parsed[key]
      this.#doubtful.add(key)
    }
  }
}

/** A statement's text, and the name that its user gave it. */
export interface NamedText {
  readonly name: string | undefined
  readonly text: string
}

/** pg's own rule, in its words. */
function notUnique(name: string): Error {
  return new Error(`Prepared statements must be unique - '${name}' was used for a different statement`)
}

function keyOf(name: string): string {
  // Most names are far too short to be cut.
  return name.length * 3 <= NAME_BYTES ? name : Buffer.from(name).subarray(0, NAME_BYTES).toString('latin1')
}
