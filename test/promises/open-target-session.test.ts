/** target_session_attrs, against a primary and a streaming standby. */
import assert from 'node:assert/strict'
import { after } from 'node:test'
import { isTransientOpenError } from '../support/conninfo/internals.js'
import { ask, failure, open, type Opened } from '../support/conninfo/opening.js'
import { REPLICATION_HBA, startStandby } from '../support/conninfo/standby.js'
import { startServer } from '../support/postgres.js'
import { startProxy } from '../support/proxy.js'
import { leakTest } from '../support/suite.js'
import { until } from '../support/wait.js'

const test = leakTest()

const primary = await startServer({ hba: REPLICATION_HBA })
const standby = await startStandby(primary)
const reader = await startServer({ conf: ['default_transaction_read_only = on'] })
after(async () => {
  for (const server of [standby, primary, reader]) await server[Symbol.asyncDispose]()
})

const names = new Map([
  [primary.port, 'primary'],
  [standby.port, 'standby'],
  [reader.port, 'reader'],
])
type Name = 'primary' | 'standby' | 'reader'
const servers = { primary, standby, reader }

function conninfo(attributes: string, ...hosts: readonly Name[]): string {
  const ports = hosts.map((name) => servers[name].port).join(',')
  const host = hosts.map(() => '127.0.0.1').join(',')
  return `host=${host} port=${ports} dbname=postgres user=postgres target_session_attrs=${attributes}`
}

function nameOf(opened: Opened): string | undefined {
  return names.get(opened.target.port)
}

test('the standby follows the primary', async () => {
  await using opened = await open(conninfo('any', 'standby'))
  assert.equal(await ask(opened, 'SELECT pg_is_in_recovery()'), true)
  assert.equal(opened.session.inHotStandby, true)
  await until(async () => (await ask(opened, 'SELECT count(*)::int FROM pg_stat_wal_receiver')) === 1, {
    what: 'the standby to stream',
  })
})

for (const [attributes, hosts, expected] of [
  ['any', ['standby', 'primary'], 'standby'],
  ['read-write', ['standby', 'reader', 'primary'], 'primary'],
  ['read-only', ['primary', 'reader', 'standby'], 'reader'],
  ['read-only', ['primary', 'standby'], 'standby'],
  ['primary', ['standby', 'reader', 'primary'], 'reader'],
  ['primary', ['standby', 'primary'], 'primary'],
  ['standby', ['primary', 'reader', 'standby'], 'standby'],
  ['prefer-standby', ['primary', 'standby'], 'standby'],
  ['prefer-standby', ['primary', 'reader'], 'primary'],
] as const) {
  test(`target_session_attrs=${attributes} of ${hosts.join(', ')} is the ${expected}`, async () => {
    await using opened = await open(conninfo(attributes, ...hosts))
    assert.equal(nameOf(opened), expected)
    assert.equal(await ask(opened, 'SELECT 1'), 1)
  })
}

for (const [attributes, hosts, reason] of [
  ['read-write', ['standby', 'reader'], 'session is read-only'],
  ['read-only', ['primary'], 'session is not read-only'],
  ['primary', ['standby'], 'server is in hot standby mode'],
  ['standby', ['primary', 'reader'], 'server is not in hot standby mode'],
] as const) {
  test(`target_session_attrs=${attributes} of ${hosts.join(', ')}: ${reason}`, async () => {
    const error = await failure(conninfo(attributes, ...hosts))
    assert.equal(error.errors.length, hosts.length)
    for (const { kind, message } of error.errors) {
      assert.equal(kind, 'session')
      assert.ok(message.endsWith(`failed: ${reason}`), message)
    }
    // A failover may be under way: the next try may find another primary.
    assert.equal(isTransientOpenError(error), true)
  })
}

for (const [attributes, name, fits] of [
  ['read-write', 'primary', true],
  ['read-write', 'standby', false],
  ['read-write', 'reader', false],
  ['read-only', 'standby', true],
  ['read-only', 'primary', false],
  ['primary', 'primary', true],
  ['primary', 'standby', false],
  ['standby', 'standby', true],
  ['standby', 'primary', false],
] as const) {
  test(`a server that does not say what it is is asked: ${attributes} of ${name}`, async () => {
    await using proxy = await startProxy(servers[name].tcp)
    // As before PostgreSQL 14, and behind some poolers.
    proxy.onChunk = (direction, chunk) =>
      direction === 'toServer'
        ? chunk
        : Buffer.from(
            chunk
              .toString('latin1')
              .replace('in_hot_standby', 'xx_hot_standby')
              .replace('default_transaction_read_only', 'xxxxxxx_transaction_read_only'),
            'latin1',
          )
    const login = { host: '127.0.0.1', port: proxy.port, user: 'postgres', dbname: 'postgres' }
    const opening = open({ ...login, target_session_attrs: attributes })
    if (!fits) return assert.rejects(opening, { code: 'ERR_CONNECT' })
    await using opened = await opening
    assert.equal(opened.session.inHotStandby, null)
  })
}

test('only one address of a server that will not do is tried', async () => {
  const lookUp = async () => ['127.0.0.1', '127.0.0.1']
  const error = await failure(
    {
      host: 'db.test',
      port: standby.port,
      user: 'postgres',
      dbname: 'postgres',
      target_session_attrs: 'primary',
    },
    { lookUp },
  )
  assert.equal(error.errors.length, 1)
})

test('prefer-standby goes on to any server in a second round, with a deadline for both', async () => {
  const error = await failure(conninfo('prefer-standby', 'primary').replace(`${primary.port}`, '1'))
  assert.equal(error.errors.length, 1)
})

test('after a failover the next opening finds the new primary', async () => {
  const both = conninfo('primary', 'primary', 'standby')
  {
    await using before = await open(both)
    assert.equal(nameOf(before), 'primary')
  }
  await primary.stop('immediate')
  const meanwhile = await failure(both)
  assert.equal(isTransientOpenError(meanwhile), true)
  {
    await using promoting = await open(conninfo('any', 'standby'))
    assert.equal(await ask(promoting, 'SELECT pg_promote()'), true)
  }
  await using now = await open(both)
  assert.equal(nameOf(now), 'standby')
  await now.client.query('CREATE TABLE written AS SELECT 1')
})
