/**
 * A web service on one connection: each request has a deadline and sees its tenant's rows alone; a health check that
 * stands in no line; and a stop that lets those under way finish.
 */
import Fastify, { type FastifyReply } from 'fastify'
import { AcquireTimeoutError, ConnectError, ManagedConnection } from 'pg-managed-connection'
import { openServer } from './support/server.js'

await using server = await openServer()
const manager = new ManagedConnection(server.conninfo, { acquireTimeoutMillis: 2_000, maxWaiting: 1_000 })
await manager.query(`
  DROP TABLE IF EXISTS example_notes;
  CREATE TABLE example_notes (tenant text DEFAULT current_setting('app.tenant'), note text)`)

const service = Fastify()

/** What one request asks the database with: it ends when the client hangs up, or after two seconds. */
function scopeOf(tenant: string, { raw }: FastifyReply) {
  const closed = new AbortController()
  raw.once('close', () => closed.abort(new Error('the client has gone')))
  const signal = AbortSignal.any([closed.signal, AbortSignal.timeout(2_000)])
  return { database: manager.with({ settings: { 'app.tenant': tenant }, label: `tenant ${tenant}` }), signal }
}

service.post<{ Params: { tenant: string }; Body: { note: string } }>(
  '/:tenant/notes',
  async (request, reply) => {
    const { database, signal } = scopeOf(request.params.tenant, reply)
    const count = await database.transaction(
      async (connection) => {
        await connection.query('INSERT INTO example_notes (note) VALUES ($1)', [request.body.note])
        const { rows } = await connection.query<{ n: number }>(
          "SELECT count(*)::int AS n FROM example_notes WHERE tenant = current_setting('app.tenant')",
        )
        return rows[0]!.n
      },
      { signal, retries: 3 },
    )
    return reply.code(201).send({ count })
  },
)

service.get<{ Params: { tenant: string } }>('/:tenant/slow', async (request, reply) => {
  const { database, signal } = scopeOf(request.params.tenant, reply)
  await database.query({ text: 'SELECT pg_sleep(30)', signal })
  return {}
})

// The one place where errors become answers: too busy, or no database, is worth another try later.
service.setErrorHandler((error, _request, reply) => {
  const isBusy = error instanceof AcquireTimeoutError || error instanceof ConnectError
  return reply.code(isBusy ? 503 : 500).send({ error: isBusy ? 'try again later' : 'something went wrong' })
})

// It stands in no line, so that a busy service is a healthy one.
service.get('/health', async (_request, reply) => {
  try {
    await manager.connect({ timeoutMillis: 500 })
  } catch {
    return reply.code(503).send({ status: 'no database' })
  }
  const { waiting, longestWaitMillis, holderLabel } = manager.stats
  return { status: 'ok', waiting, longestWaitMillis, holderLabel }
})

service.addHook('onClose', () => manager.end({ timeoutMillis: 5_000 }))

// The rest plays the clients. A service would call service.close() on SIGTERM.
const address = await service.listen({ port: 0, host: '127.0.0.1' })
const json = { 'content-type': 'application/json' }
const post = (tenant: string, note: string) =>
  fetch(`${address}/${tenant}/notes`, { method: 'POST', headers: json, body: JSON.stringify({ note }) })

for (const [tenant, note] of [
  ['ann', 'first'],
  ['bob', 'first'],
  ['ann', 'second'],
] as const) {
  const { count } = (await (await post(tenant, note)).json()) as { count: number }
  console.log(`${tenant} has ${count}`)
}

const gaveUp = fetch(`${address}/ann/slow`, { signal: AbortSignal.timeout(200) }).catch(() => 'gave up')
console.log('a client:', await gaveUp)
// What it had asked for was cancelled: the next is served at once.
const begun = Date.now()
await post('bob', 'second')
console.log('the next was served within a second:', Date.now() - begun < 1_000)
console.log('health:', ((await (await fetch(`${address}/health`)).json()) as { status: string }).status)

const last = post('ann', 'third')
await new Promise((resolve) => setTimeout(resolve, 50))
await service.close()
console.log('stopped; the last request was answered:', (await last).status)
