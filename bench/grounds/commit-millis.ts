/** How long a commit takes on a server, with nobody beside it. */
import pg from 'pg'
import type { TestDatabase } from '../../test/support/database.js'
import { summarise } from '../statistics.js'

const COMMITS = 60
const TIMES = 3

export interface CommitMillis {
  /** Of INSERTs that are safe when they are answered. */
  readonly durable: number
  /** Of INSERTs that are answered before. */
  readonly quick: number
}

/** The least of some medians: whatever else the machine does makes it longer, and nothing makes it shorter. */
export async function commitMillis({ conninfo }: TestDatabase): Promise<CommitMillis> {
  const client = new pg.Client({ connectionString: conninfo })
  await client.connect()
  try {
    return { quick: await leastMedian(client, 'off'), durable: await leastMedian(client, 'on') }
  } finally {
    await client.end()
  }
}

async function leastMedian(client: pg.Client, synchronousCommit: 'on' | 'off'): Promise<number> {
  await client.query(`SET synchronous_commit = ${synchronousCommit}`)
  const medians: number[] = []
  while (medians.length < TIMES) medians.push(await median(client))
  return Math.min(...medians)
}

async function median(client: pg.Client): Promise<number> {
  const millis: number[] = []
  while (millis.length < COMMITS) {
    const start = performance.now()
    await client.query('INSERT INTO proof VALUES (0)')
    millis.push(performance.now() - start)
  }
  return summarise(millis).median
}
