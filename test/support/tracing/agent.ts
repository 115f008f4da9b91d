/** Stands in for Datadog's agent on this machine: tracers send it what they have traced. */
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { decode } from '@msgpack/msgpack'
import type { AddressInfo } from 'node:net'
import type { SpanRecord } from './program.js'

/** A span as tracers send it, as far as it is read here: docs.datadoghq.com/tracing/guide/send_traces_to_agent_by_api */
interface SentSpan {
  readonly span_id: bigint
  readonly parent_id: bigint
  readonly resource: string
  readonly error: number | bigint
  readonly meta: Readonly<Record<string, string>>
}

export interface Agent extends AsyncDisposable {
  readonly url: string
  /** Everything that was sent until now. */
  readonly spans: readonly SpanRecord[]
}

export async function startAgent(): Promise<Agent> {
  const spans: SpanRecord[] = []
  const server = createServer((request, response) => {
    void read(request).then((sent) => {
      spans.push(...sent)
      response.setHeader('content-type', 'application/json').end('{"rate_by_service":{}}')
    })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const stop = async (): Promise<void> => {
    server.closeAllConnections()
    await once(server.close(), 'close')
  }
  return { url: `http://127.0.0.1:${port}`, spans, [Symbol.asyncDispose]: stop }
}

async function read(request: IncomingMessage): Promise<SpanRecord[]> {
  const body = await buffer(request)
  if (!/^\/v0\.4\/traces$/.test(request.url ?? '')) return []
  const traces = decode(body, { useBigInt64: true }) as SentSpan[][]
  return traces.flat().map(recordOf)
}

/** Who makes what the tracer calls so. */
const MAKERS: Readonly<Record<string, string>> = {
  opentracing: 'program',
  otel: 'pg-managed-connection',
  pg: 'dd-trace',
}

/** A span that was sent has ended. */
function recordOf({ span_id, parent_id, resource, error, meta }: SentSpan): SpanRecord {
  const integration = meta['_dd.integration'] ?? 'unknown'
  return {
    id: String(span_id),
    parent: BigInt(parent_id) === 0n ? null : String(parent_id),
    by: MAKERS[integration] ?? integration,
    name: resource,
    text: integration === 'pg' ? resource : (meta['db.query.text'] ?? null),
    failed: Number(error) !== 0,
    ended: true,
  }
}
