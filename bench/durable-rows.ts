/** Rows of commits that wait for a disk or for a standby, and of what it costs to make sure of a commit. */
import { managedTransaction, managedTransactionWith } from './contestants/managed.js'
import { pipelinedTransaction } from './contestants/pg-client.js'
import { poolTransactionOf } from './contestants/pg-pool.js'
import { postgresJsTransactionOf } from './contestants/postgres-js.js'
import { OURSELVES, TRANSACTIONS, type Entry, type Row } from './row.js'
import { insertNumber } from './work.js'

const BY_DEFAULT = 'the same by default'
const GROUPED = 'the same, groupCommit: true'

const groupCommit = managedTransactionWith({ groupCommit: true })
const verified = managedTransactionWith({ verifyCommit: true })
const receipts = managedTransactionWith({ verifyCommit: { table: 'receipts' } })

/** Sizes of pools: the first has as many connections as this library. */
const SIZES = [1, 10, 20]

/** What everybody does in these rows. */
const INSERTS = { ...TRANSACTIONS, work: insertNumber() } as const

/** How many times as fast as by default, and as pools of these sizes, `groupCommit` should be. */
const WANTED = 8
const WANTED_OF_POOLS: ReadonlyMap<number, number> = new Map([
  [10, 1.5],
  [20, 1],
])

/** They may cost so much more time per transaction, where nothing else takes any. */
const AT_MOST = { verified: 1 / 1.15, receipts: 1 / 1.3 } as const

export function durableRows(): readonly Row[] {
  return [
    {
      ...INSERTS,
      id: 'durable-flush',
      title: 'transaction() with an INSERT, a flush of 1 ms',
      ground: 'flush',
      alsoFirst: [BY_DEFAULT],
      entries: durableEntries(),
    },
    {
      ...INSERTS,
      id: 'durable-standby',
      title: 'transaction() with an INSERT, a synchronous standby 2 ms away',
      ground: 'standby',
      alsoFirst: [BY_DEFAULT],
      entries: durableEntries(),
    },
    COST,
  ]
}

const COST: Row = {
  ...INSERTS,
  id: 'durable-cost',
  title: 'transaction() with an INSERT, nothing to wait for',
  kind: 'growth',
  entries: [
    { name: OURSELVES, contestant: managedTransaction },
    { name: GROUPED, contestant: groupCommit },
    { name: 'the same, verifyCommit: true', contestant: verified, target: AT_MOST.verified },
    { name: 'the same, verifyCommit: table', contestant: receipts, target: AT_MOST.receipts },
  ],
}

function durableEntries(): readonly Entry[] {
  return [
    { name: `${OURSELVES}, groupCommit`, contestant: groupCommit },
    { name: BY_DEFAULT, contestant: managedTransaction, ours: true, target: WANTED },
    { name: 'the same, verifyCommit: true', contestant: verified, ours: true },
    { name: 'the same, verifyCommit: table', contestant: receipts, ours: true },
    ...SIZES.map((max) => ({
      name: `pg.Pool max: ${max}`,
      contestant: poolTransactionOf(max),
      target: WANTED_OF_POOLS.get(max),
    })),
    { name: 'pg.Client pipeline: true', contestant: pipelinedTransaction },
    ...SIZES.map((max) => ({
      name: `postgres.js max: ${max}, begin`,
      contestant: postgresJsTransactionOf(max),
    })),
  ]
}
