/** This library, with every option at its default. */
import { createReceiptTable, ManagedConnection, type TransactionOptions } from 'pg-managed-connection'
import { conninfoOf, type Place } from '../place.js'
import type { Work } from '../work.js'
import { inProcess, type Client, type Contestant } from './contestant.js'

// A hundred thousand tasks wait longer than the default allows on a slow machine.
const ACQUIRE_TIMEOUT_MILLIS = 600_000

type Once = (manager: ManagedConnection, work: Work) => Client['once']

const managed = (once: Once) => inProcess((place, work) => connect(place, work, once))

/** `transaction()`, its statements one after the other. */
const transaction =
  (options?: TransactionOptions): Once =>
  (manager, work) =>
  (n) => {
    const { text, statements } = work
    const values = [work.value(n)]
    return manager.transaction(async (connection) => {
      for (let index = 0; index < statements; index++) {
        const { rows } = await connection.query(text, values)
        work.check(rows, n)
      }
    }, options)
  }

export const managedTransaction = managed(transaction())

/** The same with options, and with the table that they may name. */
export const managedTransactionWith = (options: TransactionOptions): Contestant =>
  inProcess(async (place, work) => {
    const manager = open(place)
    const { verifyCommit } = options
    if (typeof verifyCommit === 'object') await createReceiptTable(manager, verifyCommit.table)
    return { once: transaction(options)(manager, work), close: () => manager.end() }
  })

/** `use()` with one statement and `commit()`. */
export const managedUse = managed((manager, work) => (n) => {
  const { text } = work
  const values = [work.value(n)]
  return manager.use(async (connection) => {
    const { rows } = await connection.query(text, values)
    work.check(rows, n)
    await connection.commit()
  })
})

/** `query()`: one statement that commits by itself. */
export const managedQuery = managed((manager, work) => async (n) => {
  const { rows } = await manager.query(work.text, [work.value(n)])
  work.check(rows, n)
})

/** `batch()`: all statements in one round trip. */
export const managedBatch = managed((manager, work) => async (n) => {
  const statement = { text: work.text, values: [work.value(n)] }
  const results = await manager.batch(new Array<typeof statement>(work.statements).fill(statement))
  if (results.length !== work.statements) throw new Error(`a batch had ${results.length} results`)
  for (const { rows } of results) work.check(rows, n)
})

function connect(place: Place, work: Work, once: Once): Client {
  const manager = open(place)
  return { once: once(manager, work), close: () => manager.end() }
}

function open(place: Place): ManagedConnection {
  return new ManagedConnection(conninfoOf(place), { acquireTimeoutMillis: ACQUIRE_TIMEOUT_MILLIS })
}
