/** Leadership of processes that are killed, cut off and frozen, and of servers that crash and are promoted. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import {
  ManagedConnectionError,
  UnsupportedServerError,
  type ManagedConnectionOptions,
} from 'pg-managed-connection'
import { lead } from 'pg-managed-connection/leader'
import { caught } from '../support/caught.js'
import { REPLICATION_HBA, startStandby } from '../support/conninfo/standby.js'
import {
  buildFence,
  faultsOf,
  Fleet,
  refusalsOf,
  writesOf,
  type ContenderOptions,
  type Word,
} from '../support/leader/fleet.js'
import { Term } from '../support/leader/term.js'
import { openManager } from '../support/manager.js'
import { startServer, type PostgresServer } from '../support/postgres.js'
import { conninfoThrough } from '../support/proxied.js'
import { startProxy } from '../support/proxy.js'
import { openSuite } from '../support/suite.js'
import { until } from '../support/wait.js'

const { test, database } = await openSuite({ resources: false })
const { admin } = database
const LIMIT = { timeout: 120_000 }

async function openFleet(options: Partial<ContenderOptions> = {}): Promise<Fleet> {
  await buildFence(admin)
  const { conninfo } = database
  const usual = { leads: conninfo, stores: conninfo, heartbeatMillis: 500, retryMillis: 200 }
  return new Fleet({ name: 'fleet', ...usual, ...options })
}

/** The server ends a session of which it has heard nothing for so long, and with it the lock. */
function endedWhenIdle(conninfo: string, millis: number): string {
  const mark = conninfo.includes('?') ? '&' : '?'
  return `${conninfo}${mark}options=-c%20idle_session_timeout%3D${millis}`
}

/** Waits until what one has led is on record. */
async function hasWritten({ who, epoch }: Word): Promise<void> {
  const isThere = async (): Promise<boolean> =>
    (await writesOf(admin)).some((write) => write.who === who && write.epoch === epoch && write.n !== null)
  await until(isThere, { what: `${who} to write` })
}

function summary(millis: readonly number[]): string {
  const sorted = [...millis].sort((a, b) => a - b)
  return `${sorted.length} times, median ${sorted[sorted.length >> 1]} ms, longest ${sorted.at(-1)} ms`
}

test(
  'three processes, killed and cut off from their backends: one leads at a time, and epochs grow',
  LIMIT,
  async (t) => {
    await using fleet = await openFleet()
    for (const who of ['one', 'two', 'three']) fleet.start(who)
    const tookOver: Record<string, number[]> = { 'a killed process': [], 'a killed backend': [] }
    let leader = await fleet.leader()
    for (let blow = 0; blow < 10; blow++) {
      await hasWritten(leader)
      // Time for others to lead as well, if they could.
      await sleep(250)
      const { length } = fleet.words
      const at = Date.now()
      const how = blow % 2 === 0 ? 'a killed process' : 'a killed backend'
      if (how === 'a killed process') await fleet.kill(leader.who)
      else await admin.terminate(leader.pid!)
      const next = await fleet.leader(length)
      assert.ok(BigInt(next.epoch) > BigInt(leader.epoch))
      tookOver[how]!.push(next.at - at)
      if (how === 'a killed process') fleet.start(`${leader.who}'`)
      leader = next
    }
    await hasWritten(leader)
    assert.deepEqual(faultsOf(await writesOf(admin), fleet.words), [])
    for (const [who, times] of refusalsOf(await writesOf(admin))) {
      // What was on its way when it was lost, and the last word behind that.
      assert.ok(times <= 2, `${who} was refused ${times} times: it did not know that another led`)
    }
    for (const [how, millis] of Object.entries(tookOver))
      t.diagnostic(`took over from ${how}: ${summary(millis)}`)
  },
)

test('one that was frozen wakes up and is refused: somebody else has led meanwhile', LIMIT, async (t) => {
  const leads = endedWhenIdle(database.conninfo, 3_000)
  await using fleet = await openFleet({ leads })
  for (const who of ['one', 'two', 'three']) fleet.start(who)
  const frozen = await fleet.leader()
  await hasWritten(frozen)
  const { length } = fleet.words
  const at = Date.now()
  fleet.signal(frozen.who, 'SIGSTOP')
  const next = await fleet.leader(length)
  t.diagnostic(`took over from a frozen process, at an idle_session_timeout of 3,000 ms: ${next.at - at} ms`)
  await hasWritten(next)
  fleet.signal(frozen.who, 'SIGCONT')
  const isRefused = async (): Promise<boolean> =>
    (await writesOf(admin)).some(
      ({ who, epoch, n }) => who === frozen.who && epoch === frozen.epoch && n === null,
    )
  await until(isRefused, { what: 'the old leader to be refused' })
  await until(() => fleet.words.some(({ who, event }) => who === frozen.who && event === 'lost'), {
    what: 'the old leader to hear of it',
  })
  assert.deepEqual(faultsOf(await writesOf(admin), fleet.words), [])
})

test('one behind a path that has gone deaf leads no more, and somebody else does', LIMIT, async (t) => {
  await using proxy = await startProxy(database.login)
  await using fleet = await openFleet()
  const leads = endedWhenIdle(conninfoThrough(proxy, database), 7_000)
  fleet.start('deaf', { leads })
  const deaf = await fleet.leader()
  fleet.start('one')
  fleet.start('two')
  await hasWritten(deaf)
  const { length } = fleet.words
  const at = Date.now()
  proxy.pause()
  const lost = await until(() => fleet.words.slice(length).find(({ event }) => event === 'lost'), {
    what: 'the deaf one to notice',
    timeoutMillis: 30_000,
  })
  assert.equal(lost.who, 'deaf')
  const next = await fleet.leader(length)
  assert.notEqual(next.who, 'deaf')
  t.diagnostic(`noticed after ${lost.at - at} ms, and somebody else led after ${next.at - at} ms`)
  await hasWritten(next)
  assert.ok(BigInt(next.epoch) > BigInt(deaf.epoch))
  assert.deepEqual(faultsOf(await writesOf(admin), fleet.words), [])
})

async function onServer(server: PostgresServer, ...texts: string[]): Promise<void> {
  const client = new pg.Client(server.conninfo())
  await client.connect()
  for (const text of texts) await client.query(text)
  await client.end()
}

test(
  'a server that crashes forgets no epoch, and who leads and who stands by ride it out',
  LIMIT,
  async () => {
    await using server = await startServer({ conf: ['wal_writer_delay = 10s', 'autovacuum = off'] })
    // What the session says of commits does not count.
    const options: ManagedConnectionOptions = {
      onConnect: (client) => client.query('SET synchronous_commit TO off'),
      reconnectTimeoutMillis: 0,
    }
    await using one = openManager(server.conninfo(), options)
    await using two = openManager(server.conninfo(), options)
    await using first = new Term(one, 'crash')
    const before = await first.leads()
    await two.connect()
    await using second = new Term(two, 'crash')
    const failures: unknown[] = []
    two.on('error', (error) => void failures.push(error))
    await server.stop('immediate')
    await until(() => failures.length > 1, { what: 'tries to fail' })
    await server.start()
    await until(() => before.signal.aborted, { what: 'the loss' })
    const after = await second.leads()
    assert.ok(after.epoch > before.epoch)
    second.finish()
    first.finish()
    assert.ok((await first.leads(2)).epoch > after.epoch)
    assert.ok(failures.every((error) => error instanceof ManagedConnectionError))
  },
)

test(
  'a copy that is promoted without having heard of an epoch gives greater ones; before that it refuses',
  LIMIT,
  async () => {
    await using primary = await startServer({ hba: REPLICATION_HBA })
    await using upstream = await startProxy({ ...primary.tcp })
    await using standby = await startStandby(primary, upstream)
    await using former = openManager(primary.conninfo())
    await using later = openManager(standby.conninfo())
    const { message } = await caught(
      lead(later, 'promoted', () => {}),
      UnsupportedServerError,
    )
    assert.match(message, /target_session_attrs=primary/)
    upstream.pause()
    await onServer(primary, ...Array.from({ length: 50 }, () => 'SELECT pg_current_xact_id()'))
    await using first = new Term(former, 'promoted')
    const { epoch } = await first.leads()
    await primary.stop('immediate')
    upstream.close()
    await onServer(standby, 'SELECT pg_promote()')
    let next = 0n
    await lead(later, 'promoted', (leader) => {
      next = leader.epoch
    })
    assert.ok(next > epoch)
    assert.ok(
      next % (1n << 64n) < epoch % (1n << 64n),
      'its transaction ids are behind, so the timeline decides',
    )
    first.finish()
  },
)
