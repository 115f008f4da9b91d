/** Tests for every face: what a user gives, or changes in what it was given, harms nobody else. */
import assert from 'node:assert/strict'
import { reason } from '../../support/caught.js'
import { within } from '../../support/wait.js'
import type { Suite } from '../../support/worker/face.js'

export function testGiven({ test, face }: Suite): void {
  test('a thrown thing that cannot be looked at is passed on, and the turn too', async () => {
    await using faced = face.open()
    const { manager } = faced
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    for (const verb of ['use', 'transaction'] as const) {
      let told = false
      await manager[verb](async (connection) => {
        await connection.query('SELECT 1')
        throw proxy as Error
      }).catch((error: unknown) => {
        told = Object.is(error, proxy)
      })
      assert.ok(told)
      await within(manager.query('SELECT 1'), 'the next to be served')
    }
  })

  test('values are converted and checked where they are given', async () => {
    await using faced = face.open()
    const { manager } = faced
    const hole: unknown[] = []
    hole[1] = 'x'
    const { rows } = await manager.query('SELECT $1::text AS a, $2::text AS b', hole)
    assert.deepEqual(rows, [{ a: null, b: 'x' }])
    const neighbour = manager.query('SELECT pg_sleep(0.05), 1 AS one')
    assert.ok(
      (await reason(manager.query('SELECT $1::int', new Array(65_536).fill(1)))) instanceof RangeError,
    )
    assert.equal((await neighbour).rows[0].one, 1)
    assert.equal(manager.stats.disconnects, 0)
  })

  test('what is changed in a result’s fields, nobody else sees', async () => {
    await using faced = face.open()
    const { manager } = faced
    for (let time = 0; time < 5; time++) {
      const { fields, rows } = await manager.query('SELECT 1 AS one, 2 AS two')
      assert.deepEqual(
        fields.map(({ name }) => name),
        ['one', 'two'],
      )
      assert.deepEqual(rows, [{ one: 1, two: 2 }])
      Object.assign(fields[0]!, { name: 'changed', dataTypeID: 0 })
      fields.push(fields[0]!)
    }
  })

  test('a signal aborts with whatever it is given', async () => {
    await using faced = face.open()
    const { manager } = faced
    await manager.query('SELECT 1')
    for (const given of [null, 0, 'stop']) {
      const controller = new AbortController()
      setTimeout(() => controller.abort(given), 30)
      let told: unknown = 'nothing'
      await manager
        .query({ text: 'SELECT pg_sleep(20)', signal: controller.signal })
        .catch((error: unknown) => {
          told = error
        })
      assert.ok(Object.is(told, given), String(told))
    }
  })

  test('an option that a call does not know is refused', async () => {
    await using faced = face.open()
    const { manager } = faced
    await assert.rejects(
      manager.transaction(() => 1, { isolationlevel: 'serializable' } as object),
      {
        name: 'TypeError',
        message: /"isolationLevel"/,
      },
    )
  })

  test('close() ends a subscription', async () => {
    await using faced = face.open()
    const { manager } = faced
    const subscription = await manager.listen('closing')
    await subscription.close()
    const { done } = await subscription[Symbol.asyncIterator]().next()
    assert.equal(done, true)
  })
}
