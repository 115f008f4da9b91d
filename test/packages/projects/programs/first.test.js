/** A test as Jest takes it without any configuration. */
const { ManagedConnection, UncommittedTransactionError } = require('pg-managed-connection')
const { openSandbox } = require('pg-managed-connection/sandbox')

const manager = new ManagedConnection(process.env.CONNINFO)
afterAll(() => manager.end())

test('a transaction, and one that is left open', async () => {
  const { rows } = await manager.transaction((connection) => connection.query('SELECT $1::int AS n', [1]))
  expect(rows).toEqual([{ n: 1 }])
  await expect(manager.use((connection) => connection.query('SELECT 1'))).rejects.toThrow(
    UncommittedTransactionError,
  )
})

test('bytes, numbers and times come as they do outside', async () => {
  const values = [Buffer.from([1, 2]), 3, new Date(0), ['a']]
  const text = 'SELECT $1::bytea AS bytes, $2::int AS number, $3::timestamptz AS at, $4::text[] AS list'
  const { rows } = await manager.query(text, values)
  expect(rows[0]).toEqual({ bytes: values[0], number: 3, at: values[2], list: ['a'] })
})

test('rows are streamed, and a sandbox is undone', async () => {
  const sandbox = await openSandbox(manager)
  await sandbox.query('CREATE TABLE undone (id int)')
  await sandbox.end()
  const ids = []
  await manager.use(async (connection) => {
    for await (const { n } of connection.stream('SELECT n FROM generate_series(1, 3) AS n')) ids.push(n)
    await connection.rollback()
  })
  expect(ids).toEqual([1, 2, 3])
  const { rows } = await manager.query("SELECT to_regclass('undone') AS there")
  expect(rows).toEqual([{ there: null }])
})
