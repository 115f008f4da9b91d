/**
 * Many tasks share one PostgreSQL connection, and whatever can go wrong does: `make demo`.
 *
 * Starts a server of its own, needs no terminal, and exits with 0 only if every claim that it prints has held.
 * Draws a timeline, too: into the file that it is told, or one in the system's folder for temporary files.
 */
import { nameServer } from '../test/support/environment.js'
import { startServer } from '../test/support/postgres.js'
import { balanceAccounts, conclude } from './chapters/account.js'
import { askWhileInside, useReleasedHandle } from './chapters/double-use.js'
import { killBeforeUse, killInTransaction } from './chapters/lost-backend.js'
import { forgetCommit, swallowError, throwError } from './chapters/mistakes.js'
import { shareOneBackend } from './chapters/one-backend.js'
import { rideOutRestart } from './chapters/restart.js'
import { drawTimeline } from './chapters/timeline.js'
import { say, write } from './screen.js'
import { setStage, type Stage } from './stage.js'

const CHAPTERS: readonly ((stage: Stage) => Promise<void>)[] = [
  shareOneBackend,
  forgetCommit,
  throwError,
  swallowError,
  askWhileInside,
  useReleasedHandle,
  killBeforeUse,
  killInTransaction,
  rideOutRestart,
  drawTimeline,
  balanceAccounts,
]

/** A demo that hangs has failed. */
const PATIENCE_MILLIS = 120_000

async function main(): Promise<number> {
  say('Starting a PostgreSQL server of our own …')
  await using server = await startServer()
  nameServer()
  await using stage = await setStage(server)
  say(`It runs as process ${server.pid}; the manager is ${String(stage.manager)}`)
  for (const chapter of CHAPTERS) await tell(chapter, stage)
  conclude(stage)
  return stage.claims.failed.length === 0 ? 0 : 1
}

/** A chapter that breaks off has not held what it claims; the others are told all the same. */
async function tell(chapter: (stage: Stage) => Promise<void>, stage: Stage): Promise<void> {
  try {
    await chapter(stage)
  } catch (error) {
    stage.claims.check(
      false,
      `this chapter ran to its end: ${error instanceof Error ? error.stack : String(error)}`,
    )
  }
}

// The reader has left: `make demo | head`.
process.stdout.once('error', () => process.exit(1))
setTimeout(() => {
  write(`The demo gave up after ${PATIENCE_MILLIS / 1_000} s.`)
  process.exit(1)
}, PATIENCE_MILLIS).unref()

process.exitCode = await main()
