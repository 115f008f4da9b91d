/** A process that wants to lead, and writes under its epoch while it does. It tells what happens to it, a line each. */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { ManagedConnection } from 'pg-managed-connection'
import { lead } from 'pg-managed-connection/leader'
import type { ContenderOptions, Word } from './fleet.js'

const { who, name, leads, stores, heartbeatMillis, retryMillis } = JSON.parse(
  process.argv[2]!,
) as ContenderOptions

function say(event: Word['event'], epoch: bigint): void {
  const pid = manager.stats.processID
  process.stdout.write(`${JSON.stringify({ event, epoch: String(epoch), at: Date.now(), pid })}\n`)
}

/** What is written is elsewhere, as far as the leader's own connection goes: to lose that one does not protect it. */
const store = new pg.Client(stores)
await store.connect()

/** Once, by whoever has the greatest epoch so far; a refused write is kept as well. */
const WRITE = `
  WITH written AS (
    UPDATE fence SET epoch = $1, who = $2, n = n + 1 WHERE epoch < $1 OR (epoch = $1 AND who = $2) RETURNING n
  )
  INSERT INTO writes SELECT $2, $1, (SELECT n FROM written)`

const manager = new ManagedConnection(leads, { heartbeatMillis })
const write = (epoch: bigint): Promise<unknown> => store.query(WRITE, [String(epoch), who])

await lead(
  manager,
  name,
  async ({ signal, epoch }) => {
    say('leads', epoch)
    let last: Promise<unknown> = Promise.resolve()
    signal.addEventListener('abort', () => {
      say('lost', epoch)
      // Too late: whoever leads by now must not be disturbed by it.
      last = write(epoch)
    })
    while (!signal.aborted) {
      await write(epoch)
      await sleep(5)
    }
    await last
  },
  { retryMillis },
)
