/** Payments on a cluster whose primary is lost again and again; in the end, what was told against what is stored. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Admin } from '../../admin.js'
import type { Cluster } from '../../patroni/cluster.js'
import { SUPERUSER } from '../../patroni/settings.js'
import { until } from '../../wait.js'
import { BLOWS_OF_A_ROUND, blowsForever, strike, type Struck } from './blows.js'
import { Payers } from './payers.js'

export interface ClusterRun {
  readonly tasks: number
  /** How long it goes on at least; every blow is struck once in any case. */
  readonly millis: number
  readonly onStruck: (struck: Struck & { readonly gapMillis: number }) => void
}

export interface ClusterResult {
  readonly blows: number
  readonly confirmed: number
  readonly refused: number
  readonly unknown: number
  readonly stored: number
  /** COMMITs that were not answered and then found out about: to have been done, or not. */
  readonly foundOut: { readonly done: number; readonly notDone: number }
  /** The longest time without a confirmation, of all blows. */
  readonly longestGapMillis: number
  readonly wrong: readonly string[]
}

/** Time between two blows in which nothing happens to the cluster. */
const CALM_MILLIS = 2_000
const CONFIRMED_MILLIS = 90_000

export async function runCluster(cluster: Cluster, run: ClusterRun): Promise<ClusterResult> {
  await using payers = new Payers(cluster.conninfo())
  await payers.start(run.tasks)
  const gaps = await strikeForAWhile(cluster, payers, run)
  await payers.stop()
  await cluster.untilComplete()
  const stored = await storedOn(cluster)
  const { ledger, strange, foundOut } = payers
  return {
    blows: gaps.length,
    confirmed: ledger.count('confirmed'),
    refused: ledger.count('refused'),
    unknown: ledger.count('unknown'),
    stored: stored.length,
    foundOut,
    longestGapMillis: Math.round(Math.max(...gaps)),
    wrong: [...ledger.compare(stored), ...strange],
  }
}

/** Gives the longest time without a confirmation of each blow. */
async function strikeForAWhile(cluster: Cluster, payers: Payers, run: ClusterRun): Promise<number[]> {
  const gaps: number[] = []
  const end = performance.now() + run.millis
  for (const blow of blowsForever()) {
    if (gaps.length >= BLOWS_OF_A_ROUND && performance.now() > end) break
    await sleep(CALM_MILLIS)
    payers.takeLongestGap()
    const struck = await strike(cluster, blow, () => moreConfirmed(payers, run.tasks))
    const gapMillis = Math.round(payers.takeLongestGap())
    gaps.push(gapMillis)
    run.onStruck({ ...struck, gapMillis })
  }
  return gaps
}

/** Waits until as many payments as there are tasks have been confirmed from now on. */
async function moreConfirmed({ ledger }: Payers, count: number): Promise<void> {
  const before = ledger.count('confirmed')
  await until(() => ledger.count('confirmed') > before + count, {
    ...{ what: 'payments on the new primary', timeoutMillis: CONFIRMED_MILLIS, intervalMillis: 100 },
  })
}

async function storedOn(cluster: Cluster): Promise<number[]> {
  const { port } = await cluster.primary()
  await using admin = new Admin({ host: '127.0.0.1', port, user: SUPERUSER }, 'postgres')
  return (await admin.rows<{ id: string }>('SELECT id FROM payments')).map(({ id }) => Number(id))
}
