/**
 * A program that is traced by OpenTelemetry's SDK and its instrumentation of pg, which is there before the package is
 * loaded, or comes after that: node otel-program.js import|require CONNINFO before|after
 */
import { createRequire } from 'node:module'
import { trace } from '@opentelemetry/api'
import { PgInstrumentation } from '@opentelemetry/instrumentation-pg'
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node'
import { load, perform, readOrder, report, type SpanRecord } from './program.js'
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base'
import type { InSpan } from './scenes.js'

const started: ReadableSpan[] = []

/** As applications do it. */
function setUp(): void {
  const provider = new NodeTracerProvider({
    spanProcessors: [
      {
        onStart: (span) => void started.push(span),
        onEnd: () => {},
        shutdown: () => Promise.resolve(),
        forceFlush: () => Promise.resolve(),
      },
    ],
  })
  provider.register()
  new PgInstrumentation().setTracerProvider(provider)
}

const inSpan: InSpan = (name, work) =>
  trace.getTracer('program').startActiveSpan(name, async (span) => {
    try {
      return await work()
    } finally {
      span.end()
    }
  })

function recordOf(span: ReadableSpan): SpanRecord {
  const text = span.attributes['db.query.text'] ?? span.attributes['db.statement']
  return {
    id: span.spanContext().spanId,
    parent: span.parentSpanContext?.spanId ?? null,
    by: span.instrumentationScope.name,
    name: span.name,
    text: text === undefined ? null : String(text),
    failed: 'error.type' in span.attributes || span.status.code === 2,
    ended: span.ended,
  }
}

const order = readOrder()
if (order.words.includes('before')) setUp()
const loaded = await load(order.system)
if (order.words.includes('after')) {
  setUp()
  // What is loaded already is patched when it is asked for once more.
  createRequire(import.meta.url)('pg')
}
const farAway = (await perform(loaded, order, inSpan, import.meta.url)) as SpanRecord[] | null
report([...started.map(recordOf), ...(farAway ?? [])])
