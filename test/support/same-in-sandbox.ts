/** What a program sees on a manager, and in a sandbox of one, to be compared. */
import assert from 'node:assert/strict'
import { isDeepStrictEqual } from 'node:util'
import type { Manager, ManagedConnection } from 'pg-managed-connection'
import { openSandbox } from 'pg-managed-connection/sandbox'
import { openManager } from './manager.js'

/** One thing that a program does; its name and its text are shown where it differs. */
export type Step<T> = (it: T) => Promise<unknown>

/** What is made of a manager for the steps, and is given up behind them. */
export type Prepare<T> = (manager: Manager) => Promise<{ readonly it: T; close(): Promise<unknown> }>

/** Runs the steps in a sandbox and then on the manager, and asserts that the same was seen. */
export async function assertSame<T>(
  conninfo: string,
  prepare: Prepare<T>,
  steps: readonly Step<T>[],
  afterSandbox = async (): Promise<void> => {},
): Promise<void> {
  await using manager = openManager(conninfo)
  let seen: readonly unknown[]
  {
    await using sandbox = await openSandbox(manager)
    seen = await runSteps(sandbox, prepare, steps)
  }
  await afterSandbox()
  const expected = await runSteps(manager, prepare, steps)
  const differing = expected.flatMap((value, index) => {
    const inSandbox = seen[index]
    return isDeepStrictEqual(inSandbox, value) ? [] : [{ step: String(steps[index]), inSandbox, value }]
  })
  assert.deepEqual(
    differing.map(({ step, inSandbox }) => ({ step, seen: inSandbox })),
    differing.map(({ step, value }) => ({ step, seen: value })),
  )
}

async function runSteps<T>(
  manager: Manager,
  prepare: Prepare<T>,
  steps: readonly Step<T>[],
): Promise<unknown[]> {
  const rollbacks: unknown[] = []
  const onRollback = (event: object): void => void rollbacks.push(event)
  const { it, close } = await prepare(manager)
  const emitter = manager as ManagedConnection
  emitter.on('rollback', onRollback)
  const seen: unknown[] = []
  for (const step of steps) {
    const outcome = await step(it).then(
      (value) => ({ value: show(value) }),
      (error: unknown) => ({ error: showError(error) }),
    )
    seen.push({ ...outcome, rollbacks: rollbacks.splice(0) })
  }
  await close()
  emitter.off('rollback', onRollback)
  return seen
}

/** Of a result of pg's what does not hang on the server process; anything else as it is. */
function show(result: unknown): unknown {
  if (result instanceof Error) return showError(result)
  if (Array.isArray(result)) return result.map(show)
  const { command, rowCount, rows } = (result ?? {}) as Record<string, unknown>
  return rows === undefined ? result : { command, rowCount, rows }
}

/** What an error says, and those behind it. */
function showError(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const { name, cause } = error
  // Savepoints of the library's are numbered.
  const message = error.message.replaceAll(/pgmc_\w+/g, 'pgmc')
  const { code, index, retrySafe, severity, constraint } = error as unknown as Record<string, unknown>
  return { name, message, code, index, retrySafe, severity, constraint, cause: showError(cause) }
}
