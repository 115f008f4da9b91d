/** Who is inside which callback, in this thread: see the manager's own, which cannot see into workers. */
import { AsyncLocalStorage } from 'node:async_hooks'

interface Scope {
  readonly manager: object
  /** The callback has settled: what it left behind may ask like anybody else. */
  settled: boolean
  readonly outer: Scope | undefined
}

const storage = new AsyncLocalStorage<Scope | undefined>()

/** Runs a callback that holds the connection of `manager`; resolves or rejects as it does. */
export function runInside<T>(manager: object, work: () => T | PromiseLike<T>): Promise<T> {
  const scope: Scope = { manager, settled: false, outer: storage.getStore() }
  return storage.run(scope, async () => {
    try {
      return await work()
    } finally {
      scope.settled = true
    }
  })
}

/** Whether the caller is inside a callback that holds the connection of `manager`. */
export function isInside(manager: object): boolean {
  let scope = storage.getStore()
  while (scope !== undefined && (scope.manager !== manager || scope.settled)) scope = scope.outer
  return scope !== undefined
}
