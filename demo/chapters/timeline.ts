/** A busy second, with all that can go wrong in it, drawn as a page. */
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { record } from 'pg-managed-connection/timeline'
import { count, heading, say } from '../screen.js'
import type { Stage } from '../stage.js'

const ORDERS = 5
const ONE_SHOTS = 16
/** When somebody gives up. */
const ABORTED_MILLIS = 150

export async function drawTimeline(stage: Stage): Promise<void> {
  const { manager, claims } = stage
  heading('A timeline')
  say(
    'A second of a shop: orders, a report, mails, an import, statements of their own in a pipeline. Some of them ' +
      'forget their commit, run out of time, are aborted, or lose their server process.',
  )
  await manager.query('SELECT 1')
  using timeline = record(manager)
  await runShop(stage)
  timeline.stop()
  const path = process.argv[2] ?? join(await mkdtemp(join(tmpdir(), 'pgmc-timeline-')), 'timeline.html')
  await writeFile(path, timeline.toHTML())
  say(`What happened is drawn in ${pathToFileURL(path).href}, a page that needs nothing else.`)
  claims.check(timeline.size > 0 && timeline.dropped === 0, `it shows ${count(timeline.size)} items`)
}

async function runShop(stage: Stage): Promise<void> {
  await Promise.allSettled([...orders(stage), report(stage), ...lookUps(stage), ...mails(stage)])
  await Promise.allSettled([forgetful(stage), slowSearch(stage), importGoods(stage), ...orders(stage)])
  await killedBeforeUse(stage)
  await Promise.allSettled([killedInside(stage), aborted(stage), ...lookUps(stage)])
}

function orders({ manager }: Stage): Promise<void>[] {
  return Array.from({ length: ORDERS }, (_, order) =>
    manager.transaction(
      async (connection) => {
        await connection.query('SELECT pg_sleep(0.004), $1::int AS order', [order])
        await connection.transaction((nested) =>
          nested.query('SELECT pg_sleep(0.006) /* reserve the goods */'),
        )
        await sleep(3)
        await connection.query('SELECT pg_sleep(0.005) /* write the invoice */')
      },
      { label: 'orders' },
    ),
  )
}

/** While it runs, somebody has no patience. */
async function report({ manager }: Stage): Promise<void> {
  const reporting = manager.use(
    async (connection) => {
      await connection.query('SELECT pg_sleep(0.12) /* sum up the month */')
      await connection.commit()
    },
    { label: 'report' },
  )
  await manager.use(() => {}, { label: 'impatient', timeoutMillis: 60 }).catch(() => {})
  await reporting
}

function lookUps({ manager }: Stage): Promise<unknown>[] {
  const sizes = Array.from({ length: ONE_SHOTS }, (_, number) => number)
  return [
    ...sizes.map((number) => manager.query('SELECT pg_sleep(0.002), $1::int AS article', [number])),
    manager.batch(['SELECT pg_sleep(0.003)', 'SELECT pg_sleep(0.003)', 'SELECT 1']),
  ]
}

function mails({ manager }: Stage): Promise<void>[] {
  return [8, 12, 10].map((millis) =>
    manager.use(async (connection) => {
      await connection.query(`SELECT pg_sleep(${millis / 1_000}) /* next mail */`)
      await connection.commit()
    }),
  )
}

async function forgetful({ manager }: Stage): Promise<void> {
  const work = manager.use(
    async (connection) => {
      await connection.query('SELECT pg_sleep(0.02) /* and no commit */')
    },
    { label: 'forgetful' },
  )
  await work.catch(() => {})
}

async function slowSearch({ manager }: Stage): Promise<void> {
  const search = manager.use(
    (connection) => connection.query({ text: 'SELECT pg_sleep(5) /* search */', timeoutMillis: 70 }),
    { label: 'search' },
  )
  await search.catch(() => {})
}

/** Two statements at the same time, side by side in one turn. */
async function importGoods({ manager }: Stage): Promise<void> {
  await manager.transaction(
    async (connection) => {
      const texts = [0.02, 0.015, 0.01].map((seconds) => `SELECT pg_sleep(${seconds}) /* import */`)
      await Promise.all(texts.map((text) => connection.query(text)))
    },
    { label: 'import' },
  )
}

/** In the same instant as the next turn begins, whose first statement is sent again. */
async function killedBeforeUse({ manager }: Stage): Promise<void> {
  process.kill(manager.stats.processID!, 'SIGTERM')
  await manager.transaction((connection) => connection.query('SELECT pg_sleep(0.02)'), { label: 'lucky' })
}

async function killedInside({ manager, admin }: Stage): Promise<void> {
  const unlucky = manager.transaction(
    async (connection) => {
      await connection.query('SELECT pg_sleep(0.02)')
      await admin.terminate(connection.processID!)
      await connection.query('SELECT pg_sleep(0.02)')
    },
    { label: 'unlucky' },
  )
  await unlucky.catch(() => {})
}

async function aborted({ manager }: Stage): Promise<void> {
  const controller = new AbortController()
  setTimeout(() => controller.abort(), ABORTED_MILLIS)
  const work = manager.use(
    (connection) =>
      connection.query({ text: 'SELECT pg_sleep(5) /* given up */', signal: controller.signal }),
    { label: 'aborted' },
  )
  await work.catch(() => {})
}
