/** What a timeline gives to trace viewers: by the written rules of the format, and as the engine of Chrome's DevTools reads it. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import * as DevTools from '@paulirish/trace_engine'
import { ManagedConnection } from 'pg-managed-connection'
import { record, type Timeline } from 'pg-managed-connection/timeline'
import { reason } from '../support/caught.js'
import { openSuite } from '../support/suite.js'
import { assertWellFormed, type Written } from '../support/timeline/trace-format.js'

const { test, database } = await openSuite()

/** A bit of everything: tasks with and without labels, side by side, nested, failing, leaking, held for long, lost. */
async function recordAll(manager: ManagedConnection): Promise<Timeline> {
  const timeline = record(manager)
  const nested = manager.transaction(
    async (connection) => {
      await Promise.all([connection.query('SELECT 1'), connection.query('SELECT 2')])
      await connection.transaction((inner) => inner.query("SELECT 'ä\u2028\ud83d\ude00</script>'"))
    },
    { label: 'import' },
  )
  await Promise.all([
    nested,
    manager.use(() => sleep(30)),
    manager.query('SELECT 3'),
    manager.batch(['SELECT 4', 'SELECT 8']),
  ])
  await reason(manager.query('SELECT 1 / 0'))
  await reason(manager.use((connection) => connection.query('SELECT 5')))
  await reason(manager.use(() => {}, { signal: AbortSignal.abort() }))
  await reason(
    manager.use(async (connection) => {
      await database.admin.terminate(manager.stats.processID!)
      await connection.query('SELECT 6')
    }),
  )
  await manager.transaction((connection) => connection.query('SELECT 7'))
  return timeline
}

function openManager(): ManagedConnection {
  return new ManagedConnection(database.conninfo, { holdWarningMillis: 10 })
}

test('every event keeps the rules of the format, also while something goes on', async () => {
  await using manager = openManager()
  using timeline = await recordAll(manager)
  const goingOn = manager.transaction((connection) => connection.query('SELECT pg_sleep(0.05)'))
  await sleep(20)
  const events = assertWellFormed(JSON.stringify(timeline.toTraceEvents()))
  await goingOn
  // Otherwise there would be little to check.
  const kinds = new Set(events.map(({ cat, name, ph }) => (ph === 'M' ? name : cat)))
  assert.deepEqual([...kinds].map(String).toSorted(), [
    'batch',
    'connection',
    'event',
    'hold',
    'opening',
    'process_name',
    'statement',
    'thread_name',
    'thread_sort_index',
    'transaction',
    'wait',
  ])
  assert.ok(events.some(({ name }) => String(name).endsWith('(after the turn)')))
})

test('an empty recording is a trace as well', async () => {
  await using manager = openManager()
  using timeline = record(manager)
  assertWellFormed(JSON.stringify(timeline.toTraceEvents()))
})

test('the connection is the main thread, which viewers draw first', async () => {
  await using manager = openManager()
  using timeline = await recordAll(manager)
  const { traceEvents } = timeline.toTraceEvents()
  const main = traceEvents.find(({ name, pid, tid }) => name === 'thread_name' && pid === tid)
  assert.equal(main!.args['name'], 'the connection')
})

test('the engine of DevTools finds every event, in its thread and inside of what it is part of', async () => {
  await using manager = openManager()
  using timeline = await recordAll(manager)
  const { traceEvents } = JSON.parse(JSON.stringify(timeline.toTraceEvents())) as { traceEvents: Written[] }
  const { threads, nodes } = await readByDevTools(traceEvents)
  const named = traceEvents.filter(({ name }) => name === 'thread_name')
  assert.deepEqual(
    threads,
    named.map(({ args }) => (args as Written)['name']),
  )
  // It leaves out what overlaps.
  const found = new Set(nodes.map(({ entry }) => keyOf(entry)))
  const lost = traceEvents.filter((event) => event['ph'] === 'X' && !found.has(keyOf(event)))
  const around = traceEvents.filter(({ tid }) => lost.some((one) => one['tid'] === tid))
  assert.deepEqual(lost, [], `of ${JSON.stringify(around, null, 1)}`)
  const paths = nodes.map(pathOf)
  for (const path of [
    'waiting',
    'holding > transaction > SELECT 1',
    "holding > transaction > nested transaction > SELECT 'ä\u2028\ud83d\ude00</script>'",
    'holding > transaction > SELECT 7',
    'SELECT 3',
    'SELECT 4; SELECT 8',
  ]) {
    assert.ok(paths.includes(path), `${path} is not among\n${paths.join('\n')}`)
  }
})

interface TreeNode {
  readonly entry: {
    readonly name: string
    readonly tid: unknown
    readonly ts: number
    readonly dur?: number | undefined
  }
  readonly parent: TreeNode | null
}

async function readByDevTools(
  events: readonly Written[],
): Promise<{ threads: (string | null)[]; nodes: readonly TreeNode[] }> {
  const model = DevTools.TraceModel.Model.createWithAllHandlers()
  await model.parse(events as never, {})
  const { Renderer } = model.parsedTrace(0)!.data
  const threads = [...Renderer.processes.values()].flatMap((process) => [...process.threads.values()])
  return {
    threads: threads.map(({ name }) => name),
    nodes: [...Renderer.entryToNode.values()] as readonly TreeNode[],
  }
}

function keyOf({ name, tid, ts, dur }: TreeNode['entry'] | Written): string {
  return JSON.stringify([name, tid, ts, dur])
}

function pathOf({ entry, parent }: TreeNode): string {
  const { name } = entry
  return parent === null ? name : `${pathOf(parent)} > ${name}`
}
