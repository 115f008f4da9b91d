import { setTimeout as sleep } from 'node:timers/promises'

/** Waits for `millis`. Rejects with `signal.reason` when the signal aborts first. */
export async function pause(millis: number, signal?: AbortSignal): Promise<void> {
  try {
    await sleep(millis, undefined, signal === undefined ? {} : { signal })
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  }
}
