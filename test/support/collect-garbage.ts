/** Garbage is collected when we say so, without a flag of the process. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** `minor`: of the young generation only, where the engine has one. */
export type Collect = (options?: { type: 'minor' }) => void

export const collectGarbage: Collect = findCollector()

function findCollector(): Collect {
  const { Bun: bun } = globalThis as { Bun?: { gc(force: boolean): void } }
  if (bun !== undefined) return () => bun.gc(true)
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc') as Collect
}
