/** What all errors of this library have in common. */

/** What every error of this library has in common. */
export abstract class ManagedConnectionError extends Error {
  /** A stable, machine-readable name: `ERR_…`. */
  abstract readonly code: string
  /** True only when nothing of the whole call can have been committed, so that doing it again cannot do it twice. */
  readonly retrySafe: boolean

  constructor(message: string, facts: Outcome) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.retrySafe = facts.retrySafe
  }
}

export type Outcome = { readonly retrySafe: boolean; readonly cause?: unknown }

/**
 * On the prototypes, so that no instance carries a copy; as literals, so that minifying a program leaves them as they are.
 * The class has its name anew, too, which a minifier has changed and an inspection would put in front.
 */
export function nameErrors(classes: Readonly<Record<string, { readonly prototype: Error }>>): void {
  for (const [name, type] of Object.entries(classes)) {
    Object.defineProperty(type.prototype, 'name', { value: name, configurable: true, writable: true })
    Object.defineProperty(type, 'name', { value: name, configurable: true })
  }
}
