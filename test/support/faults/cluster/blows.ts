/** What is done to the primary of a cluster, each until another one has taken its place. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Cluster } from '../../patroni/cluster.js'
import type { ClusterNode } from '../../patroni/node.js'
import { switchOver } from '../../patroni/rest.js'

export interface Blow {
  readonly what: string
  strike(primary: ClusterNode, others: readonly ClusterNode[]): Promise<void>
  /** What brings the node back, when another one is the primary. */
  repair(node: ClusterNode): Promise<void>
}

/** Long enough for COMMITs that no standby confirms to reach their limit. */
const ALONE_MILLIS = 8_000

const nothing = async (): Promise<void> => {}

const BLOWS: readonly Blow[] = [
  {
    what: 'a switchover',
    strike: ({ restPort, name }) => switchOver(restPort, name),
    repair: nothing,
  },
  {
    what: "kill -9 of the primary's server",
    strike: (primary) => primary.killServer(),
    repair: nothing,
  },
  {
    what: 'kill -9 of the primary with its Patroni',
    strike: (primary) => primary.kill(),
    repair: (node) => node.start(),
  },
  {
    what: 'the primary frozen with its Patroni',
    strike: (primary) => primary.freeze(),
    repair: (node) => node.thaw(),
  },
  {
    what: 'the primary cut off from the others, and then killed',
    strike: cutOff,
    repair: (node) => node.start(),
  },
]

/**
 * Its clients reach it, and nobody else: no standby confirms what they commit, and its Patroni does nothing about it.
 * What it has alone is lost, because the next primary is one of the others.
 */
async function cutOff(primary: ClusterNode, others: readonly ClusterNode[]): Promise<void> {
  await primary.freezePatroni()
  await Promise.all(others.map((node) => node.kill()))
  await sleep(ALONE_MILLIS)
  await primary.kill()
  for (const node of others) await node.start()
}

/** What a blow did, in milliseconds since it was struck. */
export interface Struck {
  readonly what: string
  readonly from: string
  readonly to: string
  /** Until another node was the primary. */
  readonly promotedMillis: number
  /** Until the node was back, and the cluster complete. */
  readonly completeMillis: number
}

/** The blows, one after the other, again and again. */
export function* blowsForever(): Generator<Blow, never> {
  for (;;) yield* BLOWS
}

export const BLOWS_OF_A_ROUND = BLOWS.length

/** Strikes, waits for the new primary and for `confirmed`, and repairs. */
export async function strike(
  cluster: Cluster,
  blow: Blow,
  confirmed: () => Promise<unknown>,
): Promise<Struck> {
  const old = await cluster.primary()
  const start = performance.now()
  const since = (): number => Math.round(performance.now() - start)
  const others = cluster.nodes.filter((node) => node !== old)
  await blow.strike(old, others)
  const next = await cluster.primary(others)
  const promotedMillis = since()
  await confirmed()
  await blow.repair(old)
  await cluster.untilComplete()
  return { what: blow.what, from: old.name, to: next.name, promotedMillis, completeMillis: since() }
}
