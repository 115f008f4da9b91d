/** Waiting with a bound: nothing in these tests may hang. */
import { setTimeout as sleep } from 'node:timers/promises'

/** How long a condition may take before the test gives up on it. */
export const PATIENCE_MILLIS = 10_000

/** What a bounded wait is for, and how long it may take. */
export interface WaitOptions {
  /** What is awaited, for the error message: "the backend to go". */
  readonly what: string
  readonly timeoutMillis?: number
  readonly intervalMillis?: number
}

/** Asks `probe` again and again until it answers something truthy, and returns that. Throws after the bound. */
export async function until<T>(
  probe: () => T | PromiseLike<T>,
  { what, timeoutMillis = PATIENCE_MILLIS, intervalMillis = 10 }: WaitOptions,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeoutMillis
  for (;;) {
    const answer = await probe()
    if (answer) return answer
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMillis} ms for ${what}`)
    await sleep(intervalMillis)
  }
}

/** The promise's own outcome if it comes in time, otherwise a rejection that says what was awaited. */
export async function within<T>(
  promise: PromiseLike<T>,
  what: string,
  timeoutMillis = PATIENCE_MILLIS,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const tooLate = new Promise<never>((_, reject) => {
    const error = new Error(`waited ${timeoutMillis} ms for ${what}`)
    timer = setTimeout(() => reject(error), timeoutMillis)
  })
  try {
    return await Promise.race([promise, tooLate])
  } finally {
    clearTimeout(timer)
  }
}
