/** Two at once, by mistake: refused before anything goes wrong. */
import { ConnectionReleasedError, ReentrantAcquireError, type Connection } from 'pg-managed-connection'
import { caught } from '../claims.js'
import { heading, say } from '../screen.js'
import type { Stage } from '../stage.js'

export async function askWhileInside({ manager, claims, occupancy }: Stage): Promise<void> {
  heading('A second ask from inside')
  say('A task that holds the only connection asks for it again. It would wait for itself, for ever.')
  const { error, millis } = await manager.use(() =>
    occupancy.during(async () => {
      const start = performance.now()
      const error = await caught(manager.query('SELECT 1'))
      return { error, millis: performance.now() - start }
    }),
  )
  claims.refused(error, ReentrantAcquireError, `it is refused at once (after ${millis.toFixed(1)} ms)`)
}

export async function useReleasedHandle({ manager, claims, counters, occupancy }: Stage): Promise<void> {
  heading('A handle that outlives its turn')
  say('A task keeps its handle, and uses it while somebody else holds the connection.')
  let kept: Connection | undefined
  await manager.use((connection) =>
    occupancy.during(async () => {
      kept = connection
    }),
  )
  const error = await manager.use((connection) =>
    occupancy.during(async () => {
      await connection.query('SELECT 1')
      const error = await caught(kept!.query("UPDATE counter SET n = n + 1 WHERE name = 'mistakes'"))
      await connection.commit()
      return error
    }),
  )
  claims.refused(error, ConnectionReleasedError, 'the old handle reaches nobody')
  claims.check(
    (await counters.stored()).mistakes === 0,
    "its update did not slip into the other's transaction",
  )
}
