/** What the demo says of the library, each claim checked before it is printed. */
import { ManagedConnectionError } from 'pg-managed-connection'
import { quote, verdict } from './screen.js'

export class Claims {
  #held = 0
  readonly #failed: string[] = []

  get total(): number {
    return this.#held + this.#failed.length
  }

  get failed(): readonly string[] {
    return this.#failed
  }

  /** Prints the claim and whether it holds. */
  check(held: boolean, sentence: string): void {
    if (held) this.#held++
    else this.#failed.push(sentence)
    verdict(held, sentence)
  }

  /** Prints what was thrown in the library's words, and claims that it is a `Kind`. Null where it is not. */
  refused<E extends Error>(
    error: unknown,
    Kind: abstract new (...args: never[]) => E,
    sentence: string,
  ): E | null {
    if (error instanceof Error) quoteError(error)
    const expected = error instanceof Kind
    this.check(expected, expected ? sentence : `${sentence} (by a ${Kind.name}, but got ${String(error)})`)
    return expected ? error : null
  }
}

/** An error, with its code and its cause, as whoever catches it sees it. */
export function quoteError(error: Error): void {
  const code = error instanceof ManagedConnectionError ? ` (${error.code})` : ''
  quote(`${error.name}${code}: ${error.message}`)
  if (error.cause instanceof Error) quote(`cause: ${error.cause.message}`)
}

/** What a listener of the manager's hears. */
export function quoteEvent(name: string, error: Error | undefined): void {
  quote(`event '${name}': ${error?.message ?? 'no error'}`)
}

/** What `promise` rejects with; null where it does not. */
export async function caught(promise: PromiseLike<unknown>): Promise<unknown> {
  try {
    await promise
    return null
  } catch (error) {
    return error
  }
}
