/** Datadog's tracer, loaded before everything else: what it sends to its agent of a program that uses the package. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { openSuite } from '../support/suite.js'
import { startAgent } from '../support/tracing/agent.js'
import { flagsFor, settingsFor } from '../support/tracing/datadog.js'
import { assertOwned, failedTexts } from '../support/tracing/ownership.js'
import { FAR_AWAY } from '../support/tracing/program.js'
import { FAILING, STATEMENTS } from '../support/tracing/scenes.js'
import { until } from '../support/wait.js'
import type { ModuleSystem, SpanRecord } from '../support/tracing/program.js'
import type { Counts } from '../support/tracing/dd-program.js'

const { test, database } = await openSuite()

const PROGRAM = fileURLToPath(new URL('../support/tracing/dd-program.js', import.meta.url))

/** Everything that the agent got of one run of the program, in which no span was left open. */
async function trace(
  system: ModuleSystem,
  words: readonly string[] = [],
  settings: Readonly<Record<string, string>> = {},
): Promise<readonly SpanRecord[]> {
  await using agent = await startAgent()
  const env = { ...withoutSettings(process.env), ...settingsFor(agent.url), ...settings }
  const args = [...flagsFor(system), PROGRAM, system, database.conninfo, ...words]
  const { stdout } = await promisify(execFile)(process.execPath, args, { env })
  const { begun, ended } = JSON.parse(stdout) as Counts
  assert.equal(ended, begun)
  await until(() => agent.spans.length >= begun, { what: 'the last spans to arrive' })
  assert.equal(agent.spans.length, begun)
  return agent.spans
}

/** Without those of whoever runs the tests. */
function withoutSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !/^(?:DD|OTEL)_/.test(name)))
}

/** What pg's plugin sees in the worker is the worker's. */
const EVERYTHING = { ...STATEMENTS, ...FAR_AWAY }

for (const system of ['import', 'require'] as const) {
  test(`with --${system} each statement has one span of pg's plugin, in the span of who asked for it`, async () => {
    const spans = await trace(system)
    assertOwned(spans, ['dd-trace'], EVERYTHING)
    assert.deepEqual(failedTexts(spans, 'dd-trace'), FAILING)
  })

  test(`with --${system} and its provider our spans have the same parents, beside those of pg's plugin`, async () => {
    const spans = await trace(system, ['provider'])
    assertOwned(spans, ['dd-trace', 'pg-managed-connection'], EVERYTHING)
    assert.deepEqual(failedTexts(spans, 'pg-managed-connection'), FAILING)
  })
}

test('its comments in front of the texts change neither the answers nor the spans and their names', async () => {
  const spans = await trace('import', ['provider'], { DD_DBM_PROPAGATION_MODE: 'full' })
  assertOwned(spans, ['dd-trace', 'pg-managed-connection'], EVERYTHING)
  const ours = spans.filter(({ by, text }) => by === 'pg-managed-connection' && text !== null)
  assert.ok(ours.some(({ text }) => /^\/\*dddb=.*traceparent=.*\*\/ SELECT 1$/.test(text!)))
  assert.deepEqual([...new Set(ours.map(({ name }) => name.replace(` ${database.name}`, '')))].toSorted(), [
    'BATCH SELECT',
    'BEGIN',
    'COMMIT',
    'SELECT',
  ])
})
