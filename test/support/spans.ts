/** The real tracing of pg: OpenTelemetry's SDK and its instrumentation, which replaces pg's `query()`. */
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { trace } from '@opentelemetry/api'
import { PgInstrumentation, type PgInstrumentationConfig } from '@opentelemetry/instrumentation-pg'
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node'
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base'

const started: ReadableSpan[] = []

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

const tracer = trace.getTracer('test')

const instrumentation = new PgInstrumentation()
instrumentation.setTracerProvider(provider)
// What is loaded already is patched when it is asked for once more.
createRequire(import.meta.url)('pg')
instrumentation.disable()

/** Traces while it is in scope. */
export function traced(config: PgInstrumentationConfig = {}): Disposable {
  instrumentation.setConfig(config)
  instrumentation.enable()
  return { [Symbol.dispose]: () => instrumentation.disable() }
}

/** Runs `work` inside a span, and gives the spans of the statements that were started meanwhile. */
export async function statementSpans(work: () => Promise<unknown>): Promise<ReadableSpan[]> {
  const from = started.length
  await inSpan('caller', work)
  return started.slice(from).filter(({ name }) => name.startsWith('pg.query'))
}

export function inSpan<T>(name: string, work: () => Promise<T>): Promise<T> {
  return tracer.startActiveSpan(name, async (span) => {
    try {
      return await work()
    } finally {
      span.end()
    }
  })
}

function textOf(span: ReadableSpan): unknown {
  return span.attributes['db.query.text']
}

/** The name of the span that it belongs to. */
function parentOf(span: ReadableSpan): string | undefined {
  return started.find((other) => other.spanContext().spanId === span.parentSpanContext?.spanId)?.name
}

/** One ended span for each of `texts`, in that order, all of them the caller's. */
export function assertSpans(spans: readonly ReadableSpan[], texts: readonly string[]): void {
  assert.deepEqual(spans.map(textOf), texts)
  for (const span of spans) {
    assert.equal(span.ended, true, `the span of ${String(textOf(span))} was not ended`)
    assert.equal(parentOf(span), 'caller')
  }
}
