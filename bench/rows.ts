/** The rows of the table, and what we want to see in them. */
import { managedBatch, managedQuery, managedTransaction, managedUse } from './contestants/managed.js'
import {
  clientTransaction,
  namedPipelinedQuery,
  namedPipelinedTransaction,
  pipelinedQuery,
  pipelinedTransaction,
} from './contestants/pg-client.js'
import {
  namedPoolQuery,
  namedPoolTransaction,
  poolOfTenQuery,
  poolQuery,
  poolTransaction,
  poolTransactionOf,
} from './contestants/pg-pool.js'
import { pgbenchPipeline, pgbenchTransaction } from './contestants/pgbench.js'
import { pgPromiseTransaction } from './contestants/pg-promise.js'
import { postgresJsQuery, postgresJsTransaction } from './contestants/postgres-js.js'
import { slonikTransaction } from './contestants/slonik.js'
import { signalQueries } from './contestants/signals.js'
import { settingsQueries, settingsTransactions } from './contestants/settings.js'
import { watchedQueries, watchedTransactions } from './contestants/watched.js'
import { workersFiveMessages, workersQuery, workersTransaction } from './contestants/workers.js'
import { durableRows } from './durable-rows.js'
import { OURSELVES, TRANSACTIONS, type Entry, type Row } from './row.js'
import { SELECT_ITEMS, SELECT_SLOWLY, selectNumber } from './work.js'

const PGBENCH = 'pgbench -c1 -M prepared'
const PGBENCH_PIPELINE = 'pgbench, 50 transactions a pipeline'

/** More than one connection, and one on which nobody waits for an answer: other ways out of the same trouble. */
const TEN_OR_PIPELINED: readonly Entry[] = [
  { name: 'pg.Pool max: 10', contestant: poolTransactionOf(10) },
  { name: 'pg.Client pipeline: true', contestant: pipelinedTransaction },
]
const NAMED_PIPELINE = 'pg.Client pipeline: true, named'

const QUERIES = { ...TRANSACTIONS, unit: 'queries' } as const

/** A growing line may cost a fifth more per transaction, and no more than that. */
const FLAT = 1 / 1.2

/** All rows. The quick ones leave out the longest lines, which take seconds a round. */
export function allRows(quick: boolean): readonly Row[] {
  return [
    {
      ...TRANSACTIONS,
      id: 'transaction',
      title: 'transaction() with one statement',
      entries: [
        { name: OURSELVES, contestant: managedTransaction },
        { name: 'pg.Pool max: 1', contestant: poolTransaction, target: 3 },
        { name: 'pg.Pool max: 1, named', contestant: namedPoolTransaction },
        ...TEN_OR_PIPELINED,
        { name: NAMED_PIPELINE, contestant: namedPipelinedTransaction },
        { name: 'postgres.js max: 1, begin', contestant: postgresJsTransaction, target: 4 },
        { name: 'pg-promise max: 1, tx', contestant: pgPromiseTransaction },
        { name: 'slonik pool of 1', contestant: slonikTransaction },
        { name: PGBENCH, contestant: pgbenchTransaction, target: 1.2 },
      ],
    },
    {
      ...TRANSACTIONS,
      id: 'three',
      title: 'transaction() with three statements',
      work: selectNumber(3),
      entries: [
        { name: OURSELVES, contestant: managedTransaction },
        { name: 'pg.Pool max: 1', contestant: poolTransaction, target: 2 },
        { name: 'pg.Pool max: 1, named', contestant: namedPoolTransaction },
        ...TEN_OR_PIPELINED,
        { name: NAMED_PIPELINE, contestant: namedPipelinedTransaction },
        { name: 'postgres.js max: 1, begin', contestant: postgresJsTransaction },
        { name: PGBENCH, contestant: pgbenchTransaction },
      ],
    },
    {
      ...TRANSACTIONS,
      id: 'network',
      title: 'transaction() at a round trip of 2 ms',
      delayMillis: 1,
      entries: [
        { name: OURSELVES, contestant: managedTransaction },
        { name: 'the same, batch()', contestant: managedBatch, ours: true },
        { name: 'pg.Pool max: 1', contestant: poolTransaction, target: 2.7 },
        { name: 'pg.Pool max: 1, named', contestant: namedPoolTransaction },
        ...TEN_OR_PIPELINED,
        { name: NAMED_PIPELINE, contestant: namedPipelinedTransaction },
        { name: 'postgres.js max: 1, begin', contestant: postgresJsTransaction },
        { name: 'pg-promise max: 1, tx', contestant: pgPromiseTransaction },
        { name: 'slonik pool of 1', contestant: slonikTransaction },
        { name: PGBENCH, contestant: pgbenchTransaction },
      ],
    },
    {
      ...TRANSACTIONS,
      id: 'use',
      title: 'use() with one statement and commit()',
      entries: [
        { name: OURSELVES, contestant: managedUse },
        { name: 'pg.Pool max: 1', contestant: poolTransaction, target: 1.5 },
        { name: 'pg.Pool max: 1, named', contestant: namedPoolTransaction },
        ...TEN_OR_PIPELINED,
      ],
    },
    { ...QUERIES, id: 'query', title: 'query()', entries: queryEntries(2.5) },
    { ...QUERIES, id: 'query-512', title: 'query() with 512 tasks', tasks: 512, entries: queryEntries(3) },
    {
      ...QUERIES,
      id: 'query-rows',
      title: 'query() for 100 rows of 6 columns',
      work: SELECT_ITEMS,
      entries: queryEntries(1.2),
    },
    {
      ...QUERIES,
      id: 'query-slow',
      title: 'query() of 5 ms',
      work: SELECT_SLOWLY,
      entries: [
        { name: OURSELVES, contestant: managedQuery },
        { name: 'pg.Pool max: 1', contestant: poolQuery },
        { name: 'pg.Pool max: 10', contestant: poolOfTenQuery },
        { name: 'pg.Client pipeline: true', contestant: pipelinedQuery },
      ],
    },
    {
      ...QUERIES,
      id: 'query-growth',
      title: 'query(), many at once',
      kind: 'growth',
      entries: [
        { name: '1,000 at once', contestant: managedQuery, tasks: 1_000 },
        { name: '10,000 at once', contestant: managedQuery, tasks: 10_000, target: 0.8 },
        ...(quick
          ? []
          : [{ name: '100,000 at once', contestant: managedQuery, tasks: 100_000, target: 0.8 }]),
      ],
    },
    {
      ...TRANSACTIONS,
      id: 'batch',
      title: 'batch() of one statement',
      entries: [
        { name: OURSELVES, contestant: managedBatch },
        { name: PGBENCH_PIPELINE, contestant: pgbenchPipeline, target: 0.9 },
        ...TEN_OR_PIPELINED,
        { name: NAMED_PIPELINE, contestant: namedPipelinedTransaction },
      ],
    },
    {
      ...TRANSACTIONS,
      id: 'batch-5',
      title: 'batch() of five statements',
      work: selectNumber(5),
      entries: [
        { name: OURSELVES, contestant: managedBatch },
        { name: PGBENCH_PIPELINE, contestant: pgbenchPipeline, target: 0.8 },
        ...TEN_OR_PIPELINED,
        { name: NAMED_PIPELINE, contestant: namedPipelinedTransaction },
      ],
    },
    {
      ...TRANSACTIONS,
      id: 'alone',
      title: 'transaction(), one task alone',
      tasks: 1,
      entries: [
        { name: OURSELVES, contestant: managedTransaction },
        { name: 'bare pg.Client', contestant: clientTransaction, target: 1 },
        { name: 'pg.Client pipeline: true', contestant: pipelinedTransaction },
      ],
    },
    {
      ...TRANSACTIONS,
      id: 'growth',
      title: 'transaction(), a growing line',
      kind: 'growth',
      entries: [
        { name: '64 waiting', contestant: managedTransaction },
        { name: '1,000 waiting', contestant: managedTransaction, tasks: 1_000, target: FLAT },
        { name: '10,000 waiting', contestant: managedTransaction, tasks: 10_000, target: FLAT },
        ...(quick
          ? []
          : [{ name: '100,000 waiting', contestant: managedTransaction, tasks: 100_000, target: FLAT }]),
      ],
    },
    {
      ...TRANSACTIONS,
      id: 'worker',
      title: 'transaction() in 4 worker threads',
      kind: 'growth',
      entries: [
        { name: "on the owner's thread", contestant: managedTransaction },
        { name: '4 workers x 16 tasks', contestant: workersTransaction, target: 0.4 },
      ],
    },
    {
      ...TRANSACTIONS,
      id: 'worker-messages',
      title: 'transaction() in 4 worker threads, and five messages for each',
      entries: [
        { name: OURSELVES, contestant: workersTransaction },
        { name: 'five messages', contestant: workersFiveMessages, target: 2 },
      ],
    },
    {
      ...QUERIES,
      id: 'worker-query',
      title: 'query() in 4 worker threads',
      kind: 'growth',
      entries: [
        { name: "on the owner's thread", contestant: managedQuery },
        { name: '4 workers x 16 tasks', contestant: workersQuery, target: 0.45 },
      ],
    },
    {
      ...TRANSACTIONS,
      id: 'worker-alone',
      title: 'transaction() in a worker thread, one task alone',
      tasks: 1,
      kind: 'growth',
      addedMicros: 150,
      entries: [
        { name: "on the owner's thread", contestant: managedTransaction },
        { name: 'in a worker', contestant: workersTransaction },
      ],
    },
    {
      ...TRANSACTIONS,
      id: 'watched',
      title: 'transaction(), watched',
      kind: 'growth',
      entries: watchedTransactions,
    },
    {
      ...QUERIES,
      id: 'watched-query',
      title: 'query(), watched',
      kind: 'growth',
      entries: watchedQueries,
    },
    {
      ...TRANSACTIONS,
      id: 'settings',
      title: 'transaction() with settings',
      kind: 'growth',
      entries: settingsTransactions,
    },
    {
      ...QUERIES,
      id: 'settings-query',
      title: 'query() with settings',
      kind: 'growth',
      entries: settingsQueries,
    },
    {
      ...QUERIES,
      id: 'signal-query',
      title: 'query() with a signal',
      kind: 'growth',
      entries: signalQueries,
    },
    ...durableRows(),
  ]
}

function queryEntries(target: number): readonly Entry[] {
  return [
    { name: OURSELVES, contestant: managedQuery },
    { name: 'postgres.js max: 1', contestant: postgresJsQuery, target },
    { name: 'pg.Pool max: 1', contestant: poolQuery },
    { name: 'pg.Pool max: 1, named', contestant: namedPoolQuery },
    { name: 'pg.Pool max: 10', contestant: poolOfTenQuery },
    { name: 'pg.Client pipeline: true', contestant: pipelinedQuery },
    { name: NAMED_PIPELINE, contestant: namedPipelinedQuery },
  ]
}
