/** A payment that is made exactly once, although the server process dies in the middle of its COMMIT. */
import { createReceiptTable, ManagedConnection } from 'pg-managed-connection'
import { openServer } from './support/server.js'

await using server = await openServer()
await using manager = new ManagedConnection(server.conninfo, { verifyCommit: { table: 'receipts' } })
manager.on('commitVerified', ({ outcome }) => console.log('the lost COMMIT was found out:', outcome))

await createReceiptTable(manager, 'receipts')
await manager.batch([
  'CREATE TABLE payment (id int, cents int)',
  'CREATE SEQUENCE commits',
  // The first COMMIT ends its own server process. A sequence counts on, whatever is rolled back.
  `CREATE FUNCTION die_once() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF nextval('commits') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
      RETURN NULL;
    END $$`,
  `CREATE CONSTRAINT TRIGGER die_once AFTER INSERT ON payment
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die_once()`,
])

// Without verifyCommit the caller would be told "unknown", and could neither repeat the payment nor leave it.
let attempts = 0
await manager.transaction(
  async (connection) => {
    attempts++
    await connection.query('INSERT INTO payment VALUES ($1, $2)', [1, 1_250])
  },
  { retries: 3 },
)

const { rows } = await manager.query<{ n: number }>('SELECT count(*)::int AS n FROM payment')
console.log('attempts:', attempts)
console.log('payments stored:', rows[0]?.n)
