/** Which functions a statement may call and still be known to write nothing: what the server says of each. */
import assert from 'node:assert/strict'
import { internal } from '../support/internals.js'
import { openSuite } from '../support/suite.js'

const { harmlessFunctions, isHarmlessFunction } = await internal('harmlessFunctions')

const { test, database } = await openSuite()

/** Volatile, and yet they change neither settings nor tables. */
const VOLATILE = new Set(
  `array_sample array_shuffle clock_timestamp current_query currval gen_random_uuid lastval nextval random
  random_normal setseed setval timeofday timezone txid_status uuidv4 uuidv7`.split(/\s+/),
)

test('each function that counts as harmless is the server’s own, and none may write by what the server says of it', async () => {
  const rows = await database.admin.rows<{ name: string; volatile: boolean }>(`
    SELECT proname AS name, bool_or(provolatile = 'v') AS volatile FROM pg_proc
    WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind <> 'p' GROUP BY proname`)
  const volatile = new Map(rows.map((row) => [row.name, row.volatile]))
  const wrong = [...harmlessFunctions].filter((name) => volatile.get(name) === true && !VOLATILE.has(name))
  assert.deepEqual(wrong, [])
  // Newer servers know more functions than older ones; the parser knows some that are no functions at all.
  const unknown = [...harmlessFunctions].filter((name) => !volatile.has(name))
  const most = (await database.admin.serverVersion()) >= 180_000 ? 40 : 60
  assert.ok(unknown.length < most, unknown.join(' '))
  for (const name of ['set_config', 'query_to_xml', 'ts_stat', 'ts_rewrite', 'cursor_to_xml', 'dblink'])
    assert.equal(isHarmlessFunction(name), false, name)
})
