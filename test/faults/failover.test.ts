/** A primary with a synchronous standby, which is promoted while 64 tasks write. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { ConnectionLostError, ManagedConnection, ManagedConnectionError } from 'pg-managed-connection'
import { REPLICATION_HBA, startStandby } from '../support/conninfo/standby.js'
import { Ledger } from '../support/ledger.js'
import { startServer, type PostgresServer } from '../support/postgres.js'
import { until, within } from '../support/wait.js'

const TASKS = 64

async function onServer<R extends pg.QueryResultRow>(server: PostgresServer, text: string): Promise<R[]> {
  const client = new pg.Client(server.conninfo())
  await client.connect()
  try {
    return (await client.query<R>(text)).rows
  } finally {
    await client.end()
  }
}

/** Whatever is confirmed is on both from now on. */
async function replicateSynchronously(primary: PostgresServer): Promise<void> {
  await onServer(primary, "ALTER SYSTEM SET synchronous_standby_names = '*'")
  await onServer(primary, 'SELECT pg_reload_conf()')
  await until(
    async () => {
      const rows = await onServer<{ sync_state: string }>(
        primary,
        'SELECT sync_state FROM pg_stat_replication',
      )
      return rows[0]?.sync_state === 'sync'
    },
    { what: 'the standby to be synchronous' },
  )
}

function bothHosts(first: PostgresServer, second: PostgresServer, wanted: string): string {
  const hosts = `host=${first.host},${second.host} port=${first.port},${second.port}`
  return `${hosts} user=postgres dbname=postgres target_session_attrs=${wanted}`
}

/** Writes until it is told to stop, and keeps what it was told. */
class Writers {
  readonly ledger = new Ledger()
  /** When the last transaction before the failover, and the first behind it, were confirmed. */
  readonly confirmedAt: number[] = []
  readonly #manager: ManagedConnection
  readonly #tasks: Promise<void>[]
  #over = false

  constructor(manager: ManagedConnection) {
    this.#manager = manager
    this.#tasks = Array.from({ length: TASKS }, () => this.#write())
  }

  async #write(): Promise<void> {
    while (!this.#over) {
      const id = this.ledger.issue('written')
      try {
        await this.#manager.transaction((connection) =>
          connection.query('INSERT INTO rows VALUES ($1)', [id]),
        )
        this.ledger.settle(id, 'confirmed', 'transaction()')
        this.confirmedAt.push(performance.now())
      } catch (error) {
        const { code } = error as { code?: string }
        const explained = error instanceof ManagedConnectionError || code === '57P01' || code === '25006'
        assert.ok(explained, String((error as Error)?.stack ?? error))
        const unknown = error instanceof ConnectionLostError && error.commitOutcome === 'unknown'
        this.ledger.settle(id, unknown ? 'unknown' : 'refused', String(error))
        if (error instanceof ManagedConnectionError && error.code === 'ERR_CONNECT') throw error
      }
    }
  }

  async stop(): Promise<void> {
    this.#over = true
    await within(Promise.all(this.#tasks), 'the writers to end', 40_000)
  }

  /** The longest time without a confirmation, in milliseconds. */
  get gapMillis(): number {
    return Math.round(Math.max(...this.confirmedAt.slice(1).map((at, i) => at - this.confirmedAt[i]!)))
  }

  async check(server: PostgresServer): Promise<Record<string, number>> {
    const stored = await onServer<{ id: number }>(server, 'SELECT id FROM rows')
    assert.deepEqual(this.ledger.compare(stored.map(({ id }) => id)), [])
    const count = (fate: 'confirmed' | 'unknown' | 'refused'): number => this.ledger.count(fate)
    return {
      confirmed: count('confirmed'),
      unknown: count('unknown'),
      refused: count('refused'),
      gapMillis: this.gapMillis,
    }
  }
}

test(
  '64 tasks ride out a primary that dies and a standby that is promoted; nothing confirmed is lost',
  { timeout: 120_000 },
  async (t) => {
    await using primary = await startServer({ hba: REPLICATION_HBA })
    await onServer(primary, 'CREATE TABLE rows (id int)')
    await using standby = await startStandby(primary)
    await replicateSynchronously(primary)
    await using manager = new ManagedConnection(bothHosts(primary, standby, 'primary'))
    const writers = new Writers(manager)
    await sleep(700)
    await primary.stop('immediate')
    await onServer(standby, "ALTER SYSTEM SET synchronous_standby_names = ''")
    await onServer(standby, 'SELECT pg_promote()')
    const { length } = writers.confirmedAt
    await until(() => writers.confirmedAt.length > length + TASKS, {
      what: 'writing on the new primary',
      timeoutMillis: 30_000,
    })
    await writers.stop()
    t.diagnostic(JSON.stringify(await writers.check(standby)))
  },
)

test(
  'a primary that has become read-only counts as broken, and its session is left for the new primary',
  { timeout: 120_000 },
  async (t) => {
    await using first = await startServer()
    await using second = await startServer()
    for (const server of [first, second]) await onServer(server, 'CREATE TABLE rows (id int)')
    await onServer(second, "ALTER SYSTEM SET default_transaction_read_only = 'on'")
    await onServer(second, 'SELECT pg_reload_conf()')
    await using manager = new ManagedConnection(bothHosts(first, second, 'read-write'))
    const writers = new Writers(manager)
    await sleep(300)
    await onServer(second, "ALTER SYSTEM SET default_transaction_read_only = 'off'")
    await onServer(second, 'SELECT pg_reload_conf()')
    await onServer(first, "ALTER SYSTEM SET default_transaction_read_only = 'on'")
    await onServer(first, 'SELECT pg_reload_conf()')
    await until(async () => (await onServer(second, 'SELECT FROM rows')).length > TASKS, {
      what: 'writing on the second server',
    })
    await writers.stop()
    const stored = [first, second].map((server) => onServer<{ id: number }>(server, 'SELECT id FROM rows'))
    const ids = (await Promise.all(stored)).flat().map(({ id }) => id)
    assert.deepEqual(writers.ledger.compare(ids), [])
    t.diagnostic(
      `${writers.ledger.count('confirmed')} confirmed, ${writers.ledger.count('refused')} refused (25006)`,
    )
  },
)
