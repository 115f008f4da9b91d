/** Many tasks that each ask again as soon as they have been answered. */

type Once = (n: number) => Promise<void>

/**
 * Runs `tasks` tasks for about `millis`, and each at least once. Returns operations per second: what was under
 * way at the end is waited for, and counts.
 */
export async function runMillis(tasks: number, millis: number, once: Once): Promise<number> {
  let asked = 0
  let done = 0
  const start = performance.now()
  const task = async (): Promise<void> => {
    do {
      await once(asked++)
      done++
    } while (performance.now() - start < millis)
  }
  await together(tasks, task)
  const seconds = (performance.now() - start) / 1_000
  if (done !== asked) throw new Error(`${asked} operations were asked for, and ${done} done`)
  return done / seconds
}

/** Runs exactly `count` operations, with `tasks` tasks. */
export async function runCount(tasks: number, count: number, once: Once): Promise<void> {
  let asked = 0
  await together(Math.min(tasks, count), async () => {
    while (asked < count) await once(asked++)
  })
}

async function together(tasks: number, task: () => Promise<void>): Promise<void> {
  const running: Promise<void>[] = []
  for (let index = 0; index < tasks; index++) running.push(task())
  await Promise.all(running)
}
