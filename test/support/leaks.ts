/** Notices what a test leaves behind. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { format } from 'node:util'
import type { Admin } from './admin.js'
import { until } from './wait.js'

/** What to look at; unhandled rejections and warnings are always looked at. */
export interface LeakOptions {
  /** Its database must have no client left. */
  readonly admin?: Admin | undefined
  /** Whether to look for timers, sockets and threads that keep the process alive. Default: true. */
  readonly resources?: boolean | undefined
  /** How long what a test has closed may take to go. Default: 2 s. */
  readonly graceMillis?: number | undefined
}

/** A watch that has begun; `check()` ends it. */
export interface LeakWatch {
  /** What was left behind, a sentence each; empty if all is well. */
  check(): Promise<string[]>
}

/** Watches from now until `check()`. Deprecations are warnings too. */
export function watchLeaks({ admin, resources = true, graceMillis = 2_000 }: LeakOptions = {}): LeakWatch {
  const found: string[] = []
  const onRejection = (reason: unknown): void => void found.push(format('unhandled rejection:', reason))
  const onWarning = (warning: Error): void => void found.push(format('warning:', warning))
  process.on('unhandledRejection', onRejection)
  process.on('warning', onWarning)
  const before = countResources()

  const check = async (): Promise<string[]> => {
    const [backends, left] = await Promise.all([
      admin === undefined ? [] : leftBackends(admin, graceMillis),
      resources ? leftResources(before, graceMillis) : [],
    ])
    // Rejections and warnings are reported when the microtasks have run, a turn after their cause.
    await nextTurn()
    await nextTurn()
    process.off('unhandledRejection', onRejection)
    process.off('warning', onWarning)
    return [...found, ...backends, ...left]
  }
  return { check }
}

/** Asks until nothing is left, and returns what is still there when the time is over. */
async function lastAnswer(
  timeoutMillis: number,
  probe: () => string[] | Promise<string[]>,
): Promise<string[]> {
  let left: string[] = []
  const isEmpty = async (): Promise<boolean> => {
    left = await probe()
    return left.length === 0
  }
  await until(isEmpty, { what: 'nothing to be left', timeoutMillis, intervalMillis: 20 }).catch(
    (error: unknown) => {
      if (left.length === 0) throw error // the probe itself failed
    },
  )
  return left
}

function leftBackends(admin: Admin, graceMillis: number): Promise<string[]> {
  return lastAnswer(graceMillis, async () =>
    (await admin.activity()).map(({ pid, state, query }) =>
      format('backend %d is left, %s, last statement: %s', pid, state, query),
    ),
  )
}

/** What libuv calls the things that a test is expected to close. */
const WATCHED = [
  'Timeout',
  'TCPSocketWrap',
  'TCPServerWrap',
  'TLSWrap',
  'PipeWrap',
  'PipeServerWrap',
  'MessagePort',
  'Worker',
  'ProcessWrap',
]

function countResources(): Map<string, number> {
  const counts = new Map<string, number>()
  for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1)
  return counts
}

function leftResources(before: Map<string, number>, graceMillis: number): Promise<string[]> {
  return lastAnswer(graceMillis, () => {
    const now = countResources()
    const more = (kind: string): number => (now.get(kind) ?? 0) - (before.get(kind) ?? 0)
    return WATCHED.filter((kind) => more(kind) > 0).map(
      (kind) => `${more(kind)} more ${kind} than before the test`,
    )
  })
}
