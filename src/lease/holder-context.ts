/**
 * Who is inside which holder's callback: an AsyncLocalStorage scope for each callback, so that only what the
 * callback itself started is inside, however it awaits. One storage for all managers, because each storage slows
 * every promise of the process; scopes of several managers nest.
 */
import { AsyncLocalStorage } from 'node:async_hooks'

export interface HolderScope {
  readonly manager: object
  readonly kind: 'callback' | 'onConnect'
  /** The callback has settled. What it started and did not await may ask for the connection again. */
  settled: boolean
  readonly outer: HolderScope | undefined
}

const storage = new AsyncLocalStorage<HolderScope | undefined>()

/** Runs `work` inside a new scope of `manager`'s. The caller sets `settled` when the work has settled. */
export function runInScope<T>(scope: HolderScope, work: () => T): T {
  return storage.run(scope, work)
}

/** Runs a callback that holds the connection of `manager`: what it starts is inside of it, until it has settled. */
export function runCallback<T>(
  manager: object,
  work: () => T | PromiseLike<T>,
  kind: HolderScope['kind'] = 'callback',
): Promise<T> {
  const scope = createScope(manager, kind)
  return runInScope(scope, async () => {
    try {
      return await work()
    } finally {
      scope.settled = true
    }
  })
}

export function createScope(manager: object, kind: HolderScope['kind']): HolderScope {
  return { manager, kind, settled: false, outer: unsettled(storage.getStore()) }
}

/**
 * The innermost scope that has not settled. Those that have are left out: work that starts its successor from its own
 * callback would keep the scopes of all its predecessors.
 */
function unsettled(scope: HolderScope | undefined): HolderScope | undefined {
  while (scope?.settled === true) scope = scope.outer
  return scope
}

/** The scope of `manager`'s that the caller is inside of; undefined when it is in none. */
export function enclosingScope(manager: object): HolderScope | undefined {
  let scope = storage.getStore()
  while (scope !== undefined && (scope.manager !== manager || scope.settled)) scope = scope.outer
  return scope
}

export function runOutside<T>(work: () => T): T {
  return storage.run(undefined, work)
}
