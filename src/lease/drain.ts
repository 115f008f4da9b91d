/** Waits for what a holder has left in flight. */
import { now } from '../util/clock.js'
import { timerFor, type Timer } from '../util/timer.js'
import type { BaseLease } from './base-lease.js'

/**
 * Waits until nothing is in flight. Once the server has been busy with it for `releaseGraceMillis` the backend is
 * dropped: the time of a predecessor's COMMIT does not count.
 */
export async function drain({ requests, owner, grantedAt }: BaseLease): Promise<void> {
  const { releaseGraceMillis } = owner.options
  const leftAt = now()
  let timer: Timer | undefined
  const expired = new Promise<'expired'>((resolve) => {
    const look = (): void => {
      const speaksSince = requests.speaksSince ?? grantedAt
      const left = releaseGraceMillis - (now() - Math.max(leftAt, speaksSince))
      // Timers may fire a little early.
      if (left <= 1) resolve('expired')
      else timer = timerFor(left, look)
    }
    timer = timerFor(releaseGraceMillis, look)
  })
  const quiet = requests.quiet()
  const outcome = await Promise.race([quiet, expired])
  timer?.stop()
  if (outcome !== 'expired') return
  const cause = new Error(`a statement was still running ${releaseGraceMillis}ms after its holder had left`)
  if (requests.backend === null) requests.lose(cause)
  else await requests.backend.abandon(cause)
  await quiet
}
