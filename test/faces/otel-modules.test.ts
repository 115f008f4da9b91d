/**
 * OpenTelemetry's SDK, its instrumentation of pg and `pg-managed-connection/otel`, in programs of both module systems,
 * whichever is loaded first.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { openSuite } from '../support/suite.js'
import { assertOwned, failedTexts } from '../support/tracing/ownership.js'
import { FAR_AWAY } from '../support/tracing/program.js'
import { FAILING, STATEMENTS } from '../support/tracing/scenes.js'
import type { SpanRecord } from '../support/tracing/program.js'

const { test, database } = await openSuite()

const PROGRAM = fileURLToPath(new URL('../support/tracing/otel-program.js', import.meta.url))
const MAKERS = ['@opentelemetry/instrumentation-pg', 'pg-managed-connection']

for (const system of ['import', 'require'] as const) {
  for (const when of ['before', 'after'] as const) {
    test(`${system}: with the SDK there ${when} the package, spans belong to who asked, and every one ends`, async () => {
      const args = [PROGRAM, system, database.conninfo, when]
      const { stdout } = await promisify(execFile)(process.execPath, args)
      const spans = JSON.parse(stdout) as SpanRecord[]
      assertOwned(spans, MAKERS, { ...STATEMENTS, ...FAR_AWAY })
      for (const maker of MAKERS) assert.deepEqual(failedTexts(spans, maker), FAILING)
    })
  }
}
