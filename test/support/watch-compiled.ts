/** Notices that something has been compiled. */
import { watch } from 'node:fs'
import { pathOf } from './root.js'

/** A compiler writes many files at a time. */
const QUIET_MILLIS = 150

export interface CompiledWatch extends Disposable {
  /** What was compiled until now is not news. */
  forget(): void
  /** True when something new is there, and false when nobody wants to know any more. */
  changed(signal: AbortSignal): Promise<boolean>
}

export function watchCompiled(): CompiledWatch {
  let isNew = false
  let tell = (): void => {}
  let timer: NodeJS.Timeout | undefined
  const watchers = ['build', 'dist'].map((folder) =>
    watch(pathOf(folder), { recursive: true }, (_event, name) => {
      if (!name?.endsWith('.js')) return
      clearTimeout(timer)
      timer = setTimeout(() => {
        isNew = true
        tell()
      }, QUIET_MILLIS)
    }),
  )
  return {
    forget() {
      isNew = false
    },
    async changed(signal) {
      while (!isNew && !signal.aborted) {
        await new Promise<void>((resolve) => {
          tell = resolve
          signal.addEventListener('abort', () => resolve(), { once: true })
        })
      }
      return !signal.aborted
    },
    [Symbol.dispose]() {
      clearTimeout(timer)
      for (const watcher of watchers) watcher.close()
    },
  }
}
