/** Servers on which a commit takes its time. Each is made for a row, and gone behind it. */
import { createDatabase, type TestDatabase } from '../../test/support/database.js'
import { REPLICATION_HBA, startStandby } from '../../test/support/conninfo/standby.js'
import { startServer, type PostgresServer } from '../../test/support/postgres.js'
import { until } from '../../test/support/wait.js'
import { TABLES } from '../work.js'
import { commitMillis, type CommitMillis } from './commit-millis.js'
import { openSlowWire } from './slow-wire.js'

/** `flush`: the disk takes a millisecond. `standby`: so does the way to a synchronous standby, and the way back. */
export type GroundName = 'flush' | 'standby'

/** Gets a database with the bench's tables, and a sentence about how slow it is. */
type OnDatabase<T> = (database: TestDatabase, about: string) => Promise<T>

const FLUSH_MICROS = 1_000
const WIRE_MILLIS = 1

// The tests' servers do without these: nothing there has to survive a crash of the machine.
const DURABLE = ['fsync = on', 'full_page_writes = on', 'synchronous_commit = on']

export function onGround<T>(name: GroundName, work: OnDatabase<T>): Promise<T> {
  switch (name) {
    case 'flush':
      return onSlowDisk(work)
    case 'standby':
      return onStandby(work)
    default:
      return name satisfies never
  }
}

/**
 * Where the disk is faster than it should be, whoever flushes waits before it does so: `commit_delay`. What else has
 * been written until then is flushed together with it, as it is when it comes while a slow disk is busy.
 */
async function onSlowDisk<T>(work: OnDatabase<T>): Promise<T> {
  await using server = await startServer({ conf: [...DURABLE, 'commit_siblings = 0'] })
  await using database = await open(server)
  const disk = await commitMillis(database)
  const delay = Math.max(0, FLUSH_MICROS - Math.round(1_000 * flushOf(disk)))
  await set(database, 'commit_delay', String(delay))
  const slowed = await commitMillis(database)
  const about = `the disk's own flush takes ${flushOf(disk).toFixed(2)} ms, commit_delay is ${delay} µs`
  return await work(database, `${about}; ${describe(slowed)}`)
}

/** Every commit is on the standby's disk, too, before it is answered. */
async function onStandby<T>(work: OnDatabase<T>): Promise<T> {
  await using primary = await startServer({ conf: DURABLE, hba: REPLICATION_HBA })
  await using wire = await openSlowWire(primary, WIRE_MILLIS)
  // Its configuration is its own; the primary's is not copied.
  await using standby = await startStandby(primary, wire)
  await standby.configure(DURABLE)
  await standby.restart('fast')
  await using database = await open(primary)
  await set(database, 'synchronous_standby_names', '*')
  await until(() => isSynchronous(database), { what: 'the standby to be synchronous' })
  return await work(database, describe(await commitMillis(database)))
}

async function open(server: PostgresServer): Promise<TestDatabase> {
  const database = await createDatabase({ login: server, template: 'template0' })
  await database.admin.query(TABLES)
  return database
}

async function set({ admin }: TestDatabase, name: string, value: string): Promise<void> {
  await admin.query(`ALTER SYSTEM SET ${name} = '${value}'`)
  await admin.query('SELECT pg_reload_conf()')
  const has = async (): Promise<boolean> => {
    const [row] = await admin.rows<{ setting: string }>('SELECT setting FROM pg_settings WHERE name = $1', [
      name,
    ])
    return row?.setting === value
  }
  await until(has, { what: `${name} to be ${value}` })
}

async function isSynchronous({ admin }: TestDatabase): Promise<boolean> {
  const rows = await admin.rows<{ sync_state: string }>('SELECT sync_state FROM pg_stat_replication')
  return rows[0]?.sync_state === 'sync'
}

function flushOf({ durable, quick }: CommitMillis): number {
  return Math.max(0, durable - quick)
}

function describe({ durable, quick }: CommitMillis): string {
  return `an INSERT alone takes ${durable.toFixed(2)} ms, and ${quick.toFixed(2)} ms where it does not wait for safety`
}
