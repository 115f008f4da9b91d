/** connect-pg-simple (sessions of Express) on the pool face. */
import assert from 'node:assert/strict'
import { promisify } from 'node:util'
import connectPgSimple from 'connect-pg-simple'
import session, { type SessionData } from 'express-session'
import { openPooled, tasks } from '../../support/ecosystem.js'
import { openSuite } from '../../support/suite.js'
import { within } from '../../support/wait.js'

const { test, database } = await openSuite()

const PgStore = connectPgSimple(session)

function open(it: ReturnType<typeof openPooled>, tableName = 'session') {
  const store = new PgStore({
    pool: it.pool,
    tableName,
    createTableIfMissing: true,
    pruneSessionInterval: false,
  })
  return {
    get: promisify(store.get.bind(store)) as (id: string) => Promise<SessionData | null>,
    set: promisify(store.set.bind(store)) as (id: string, data: SessionData) => Promise<void>,
    touch: promisify(store.touch.bind(store)) as (id: string, data: SessionData) => Promise<void>,
    destroy: promisify(store.destroy.bind(store)) as (id: string) => Promise<void>,
    prune: promisify(store.pruneSessions.bind(store)),
    close: () => store.close(),
  }
}

const dataOf = (n: number): SessionData =>
  ({ cookie: { originalMaxAge: 60_000, expires: new Date(Date.now() + 60_000) }, n }) as never

test('sessions are stored, read, touched and destroyed, many at the same time', async () => {
  await using it = openPooled(database)
  const store = open(it)
  await store.set('first', dataOf(0))
  const work = async (n: number): Promise<void> => {
    await store.set(`s${n}`, dataOf(n))
    await store.touch(`s${n}`, dataOf(n))
    assert.equal(((await store.get(`s${n}`)) as unknown as { n: number }).n, n)
    if (n % 2 === 0) await store.destroy(`s${n}`)
  }
  await within(Promise.all(tasks(work)), 'everybody')
  assert.equal((await store.get('s2')) ?? null, null)
  assert.ok(await store.get('s3'))
  store.close()
  assert.equal(it.manager.stats.connects, 1)
})

test('outdated sessions are pruned', async () => {
  await using it = openPooled(database)
  const store = open(it)
  await store.set('old', dataOf(1))
  await it.pool.query("UPDATE session SET expire = now() - interval '1 day' WHERE sid = 'old'")
  await store.prune()
  assert.deepEqual((await it.pool.query("SELECT 1 FROM session WHERE sid = 'old'")).rows, [])
  store.close()
})

test('a failing store says why, and works again', async () => {
  await using it = openPooled(database)
  const store = open(it)
  assert.ok(await store.get('s3'))
  await it.pool.query('ALTER TABLE session RENAME TO away')
  await assert.rejects(store.get('s3'), { code: '42P01' })
  await it.pool.query('ALTER TABLE away RENAME TO session')
  assert.ok(await store.get('s3'))
  store.close()
})
