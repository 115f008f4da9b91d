/** `pg-managed-connection/otel`: spans, as the real SDK collects them. */
import assert from 'node:assert/strict'
import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node'
import { InMemorySpanExporter, SimpleSpanProcessor, type ReadableSpan } from '@opentelemetry/sdk-trace-base'
import { ManagedConnection, type Manager } from 'pg-managed-connection'
import { instrument, type InstrumentOptions } from 'pg-managed-connection/otel'
import { attach, share } from 'pg-managed-connection/worker'
import { reason } from '../support/caught.js'
import { openSuite } from '../support/suite.js'

const { test, database } = await openSuite()

const exporter = new InMemorySpanExporter()
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
provider.register()
const tracer = provider.getTracer('test')

/** What is done in a span of the caller's, with the spans that have ended by then; those of callers included. */
async function spansOf(
  manager: Manager,
  work: () => Promise<unknown>,
  options: InstrumentOptions = {},
): Promise<readonly ReadableSpan[]> {
  exporter.reset()
  const stop = instrument(manager, { metrics: false, tracer, ...options })
  try {
    await inSpan('caller', work)
  } finally {
    stop()
  }
  return exporter.getFinishedSpans()
}

function inSpan<T>(name: string, work: () => Promise<T>): Promise<T> {
  return tracer.startActiveSpan(name, async (span) => {
    try {
      return await work()
    } finally {
      span.end()
    }
  })
}

/** Each span as its names from the root on. */
function paths(spans: readonly ReadableSpan[]): string[] {
  const byID = new Map(spans.map((span) => [span.spanContext().spanId, span]))
  const pathOf = (span: ReadableSpan): string => {
    const parent = byID.get(span.parentSpanContext?.spanId ?? '')
    const name = span.name.replace(` ${database.name}`, '')
    return parent === undefined ? name : `${pathOf(parent)} > ${name}`
  }
  return spans.map(pathOf).toSorted()
}

function find(spans: readonly ReadableSpan[], name: string): ReadableSpan {
  return spans.find((span) => span.name.startsWith(name))!
}

async function openManager(): Promise<ManagedConnection> {
  const manager = new ManagedConnection(database.conninfo)
  await manager.query('SELECT 1')
  return manager
}

test('a transaction is a span in its turn, its statements are spans in it, and the caller is the parent of all', async () => {
  await using manager = await openManager()
  const spans = await spansOf(manager, () =>
    manager.transaction(
      async (connection) => {
        await connection.query('SELECT 1')
        await connection
          .transaction((nested) => nested.query('INSERT INTO nowhere VALUES (1)'))
          .catch(() => {})
      },
      { label: 'import' },
    ),
  )
  assert.deepEqual(paths(spans), [
    'caller',
    'caller > hold the connection',
    'caller > hold the connection > transaction',
    'caller > hold the connection > transaction > SELECT',
    'caller > hold the connection > transaction > savepoint',
    'caller > hold the connection > transaction > savepoint > INSERT',
    'caller > wait for the connection',
  ])
  for (const span of spans) {
    if (span.name !== 'caller') assert.equal(span.attributes['pg_managed_connection.label'], 'import')
  }
  assert.equal(find(spans, 'transaction').attributes['pg_managed_connection.outcome'], 'committed')
  assert.equal(find(spans, 'savepoint').attributes['pg_managed_connection.outcome'], 'rolled back')
})

test('names, attributes, kind and status are those of the semantic conventions', async () => {
  await using manager = await openManager()
  const { host, port } = (manager as unknown as { facts: { host: string; port: number } }).facts
  const spans = await spansOf(manager, async () => {
    await manager.query('SELECT $1::int', [7])
    await manager.batch(['SELECT 1', 'SELECT 2'])
    await manager.batch(['SELECT 1', 'VALUES (1), (2)'])
    await reason(manager.query('SELECT 1 / 0'))
  })
  const [one, same, mixed, failed] = spans
  const server = {
    'db.system.name': 'postgresql',
    'db.namespace': database.name,
    'server.address': host,
    'server.port': port,
  }
  assert.deepEqual(one!.attributes, {
    ...server,
    'db.query.text': 'SELECT $1::int',
    'db.operation.name': 'SELECT',
    'db.response.returned_rows': 1,
  })
  assert.equal(one!.name, `SELECT ${database.name}`)
  assert.equal(one!.kind, SpanKind.CLIENT)
  assert.equal(one!.status.code, SpanStatusCode.UNSET)
  assert.equal(same!.name, `BATCH SELECT ${database.name}`)
  assert.equal(same!.attributes['db.operation.batch.size'], 2)
  assert.equal(mixed!.name, `BATCH ${database.name}`)
  assert.equal(mixed!.attributes['db.query.text'], 'SELECT 1; VALUES (1), (2)')
  assert.equal(mixed!.attributes['db.response.returned_rows'], 3)
  assert.equal(failed!.attributes['db.response.status_code'], '22012')
  assert.equal(failed!.attributes['error.type'], '22012')
  assert.deepEqual(failed!.status, { code: SpanStatusCode.ERROR, message: 'division by zero' })
})

test('pipelined one-shots of different callers are each the child of their own', async () => {
  await using manager = await openManager()
  const names = Array.from({ length: 20 }, (_, index) => `caller ${index}`)
  const spans = await spansOf(manager, () =>
    Promise.all(names.map((name) => inSpan(name, () => manager.query('SELECT 1')))),
  )
  const expected = names.flatMap((name) => [`caller > ${name}`, `caller > ${name} > SELECT`])
  assert.deepEqual(paths(spans), ['caller', ...expected].toSorted())
})

test('turns of different callers are each the child of their own, whoever held the connection before', async () => {
  await using manager = await openManager()
  const names = Array.from({ length: 5 }, (_, index) => `caller ${index}`)
  const spans = await spansOf(
    manager,
    () =>
      Promise.all(
        names.map((name) =>
          inSpan(name, () => manager.transaction((connection) => connection.query('SELECT 1'))),
        ),
      ),
    { traces: ['hold', 'statement'] },
  )
  const expected = names.flatMap((name) => [
    `caller > ${name}`,
    `caller > ${name} > hold the connection`,
    `caller > ${name} > hold the connection > SELECT`,
  ])
  assert.deepEqual(paths(spans), ['caller', ...expected].toSorted())
})

test('a span of the callback is the parent of the statements in it', async () => {
  await using manager = await openManager()
  const spans = await spansOf(
    manager,
    () => manager.transaction((connection) => inSpan('own', () => connection.query('SELECT 1'))),
    { traces: ['transaction', 'statement'] },
  )
  assert.ok(paths(spans).includes('caller > own > SELECT'), paths(spans).join('\n'))
})

test('a transaction is part of its turn, not of the span in which its first statement was asked for', async () => {
  await using manager = await openManager()
  const work = () =>
    manager.use(async (connection) => {
      await inSpan('own', () => connection.query('SELECT 1'))
      await connection.query('UPDATE nowhere SET n = 1').catch(() => {})
      await connection.rollback()
    })
  assert.deepEqual(paths(await spansOf(manager, work)), [
    'caller',
    'caller > hold the connection',
    'caller > hold the connection > transaction',
    'caller > hold the connection > transaction > UPDATE',
    'caller > own',
    'caller > own > SELECT',
    'caller > wait for the connection',
  ])
  assert.deepEqual(paths(await spansOf(manager, work, { traces: ['transaction', 'statement'] })), [
    'caller',
    'caller > own',
    'caller > own > SELECT',
    'caller > transaction',
    'caller > transaction > UPDATE',
  ])
})

test('the command is found behind comments, white space and parentheses, and is left out where there is none', async () => {
  await using manager = await openManager()
  const texts = [
    "/*dddb='bank',traceparent='00-1-2-01'*/ SELECT 1",
    '-- DELETE\n\t/* not * this */(VALUES (1))',
    '-- SELECT',
    ';',
  ]
  const spans = await spansOf(manager, async () => {
    for (const text of texts) await manager.query(text)
    await manager.batch(texts.slice(0, 2))
  })
  const statements = spans.filter(({ kind }) => kind === SpanKind.CLIENT)
  assert.deepEqual(
    statements.map(({ name, attributes }) => [name, attributes['db.operation.name']]),
    [
      [`SELECT ${database.name}`, 'SELECT'],
      [`VALUES ${database.name}`, 'VALUES'],
      [database.name, undefined],
      [database.name, undefined],
      [`BATCH ${database.name}`, 'BATCH'],
    ],
  )
})

test('what fails has its error, and every span ends', async () => {
  await using manager = new ManagedConnection(database.conninfo, { maxHoldMillis: 50 })
  await manager.query('SELECT 1')
  const spans = await spansOf(manager, async () => {
    await reason(manager.use((connection) => connection.query('SELECT pg_sleep(5)')))
    await reason(manager.use(() => {}, { signal: AbortSignal.abort(null) }))
    await reason(manager.use((connection) => connection.query('SELECT 1')))
  })
  const types = spans.map(({ name, attributes }) => [name.split(' ')[0], attributes['error.type']])
  assert.deepEqual(
    types
      .filter(([, type]) => type !== undefined)
      .map(([name, type]) => `${name}: ${String(type)}`)
      .toSorted(),
    [
      'SELECT: ERR_HOLD_TIMEOUT',
      'hold: ERR_HOLD_TIMEOUT',
      'transaction: ERR_HOLD_TIMEOUT',
      'transaction: ERR_UNCOMMITTED_TRANSACTION',
      'wait: _OTHER',
    ],
  )
})

test('values are attributes only where the manager tells them', async () => {
  await using manager = new ManagedConnection(database.conninfo, { traceValues: true })
  const spans = await spansOf(manager, () => manager.query('SELECT $1::text', ['seen']))
  assert.equal(find(spans, 'SELECT').attributes['db.query.parameter.0'], 'seen')
  await using other = await openManager()
  const [silent] = await spansOf(other, () => other.query('SELECT $1::text', ['not seen']))
  assert.ok(!JSON.stringify(silent!.attributes).includes('not seen'))
})

test("a worker's manager has spans of its own", async () => {
  await using manager = await openManager()
  await using attached = attach(share(manager))
  const spans = await spansOf(attached, async () => {
    await attached.transaction((connection) => connection.query('SELECT 1'))
    await attached.query('SELECT 2')
  })
  assert.deepEqual(paths(spans), [
    'caller',
    'caller > SELECT',
    'caller > hold the connection',
    'caller > hold the connection > transaction',
    'caller > hold the connection > transaction > SELECT',
    'caller > wait for the connection',
  ])
})

test('without a tracer the global provider is asked, and stopped there are no more spans', async () => {
  await using manager = await openManager()
  exporter.reset()
  const stop = instrument(manager, { metrics: false })
  await manager.query('SELECT 1')
  stop()
  await manager.query('SELECT 2')
  assert.deepEqual(
    exporter.getFinishedSpans().map(({ attributes }) => attributes['db.query.text']),
    ['SELECT 1'],
  )
  assert.equal(trace.getActiveSpan(), undefined)
})
