/** Three servers under Patroni, of which one is the primary and another one its synchronous standby. */
import type { ChildProcess } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '../free-port.js'
import { findServerUser, giveTo, type ServerUser } from '../server-user.js'
import { until } from '../wait.js'
import { startEtcd } from './etcd.js'
import { startClusterGuard } from './guard.js'
import { ClusterNode } from './node.js'
import { killAll } from './processes.js'
import { prepareClusterPrograms, type ClusterPrograms } from './programs.js'
import { isPrimary, membersKnownBy, type Member } from './rest.js'
import { SUPERUSER, settingsOf } from './settings.js'

const NAMES = ['a', 'b', 'c'] as const
/** A base backup, or a rewind, on a machine that has much else to do. */
const COMPLETE_MILLIS = 120_000
const FAILOVER_MILLIS = 90_000

/** A running cluster; disposing of it kills everything and removes what was stored. */
export class Cluster implements AsyncDisposable {
  readonly nodes: readonly ClusterNode[]
  readonly #folder: string
  readonly #guard: ChildProcess

  constructor(folder: string, nodes: readonly ClusterNode[], guard: ChildProcess) {
    this.#folder = folder
    this.nodes = nodes
    this.#guard = guard
  }

  /** All hosts, of which the one that can be written to is wanted. */
  conninfo(database = 'postgres'): string {
    const hosts = this.nodes.map(() => '127.0.0.1').join(',')
    const ports = this.nodes.map(({ port }) => port).join(',')
    return `host=${hosts} port=${ports} user=${SUPERUSER} dbname=${database} target_session_attrs=read-write`
  }

  /** The primary, as soon as there is one among the nodes that are asked. */
  primary(among: readonly ClusterNode[] = this.nodes): Promise<ClusterNode> {
    const find = async (): Promise<ClusterNode | undefined> => {
      const answers = await Promise.all(among.map(({ restPort }) => isPrimary(restPort)))
      return among.find((_, index) => answers[index])
    }
    return this.#until(find, { what: 'a primary', timeoutMillis: FAILOVER_MILLIS, intervalMillis: 100 })
  }

  /** Waits until all nodes run and follow the primary, and one of them is its synchronous standby. */
  async untilComplete(): Promise<void> {
    const what = 'the cluster to be complete'
    const primary = await this.primary()
    await this.#until(async () => isComplete(await membersKnownBy(primary.restPort)), {
      ...{ what, timeoutMillis: COMPLETE_MILLIS, intervalMillis: 200 },
    })
  }

  async #until<T>(
    probe: () => Promise<T>,
    options: { readonly what: string; readonly timeoutMillis: number; readonly intervalMillis: number },
  ): Promise<NonNullable<T>> {
    try {
      return await until(probe, options)
    } catch (error) {
      const logs = await Promise.all(this.nodes.map((node) => node.lastWords()))
      throw new Error(`${(error as Error).message}\n${logs.join('\n')}`, { cause: error })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await killAll(this.#folder)
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 })
    this.#guard.kill('SIGKILL')
  }
}

/** `running` and `streaming` are the same at different versions. */
function isComplete(members: readonly Member[]): boolean {
  const roles = members.map(({ role }) => role)
  const timelines = new Set(members.map(({ timeline }) => timeline))
  return (
    members.length === NAMES.length &&
    members.every(({ state }) => state === 'running' || state === 'streaming') &&
    roles.includes('leader') &&
    roles.some((role) => role === 'sync_standby') &&
    timelines.size === 1
  )
}

/** Starts everything, and waits until it is complete. */
export async function startCluster(found: { readonly fetched: string | undefined }): Promise<Cluster> {
  const user = await findServerUser()
  // Short, because there are sockets in it.
  const folder = await mkdtemp('/tmp/pgc-')
  const guard = startClusterGuard(folder)
  try {
    await giveTo(user, folder)
    const programs = await prepareClusterPrograms(found, user, join(folder, 'programs'))
    const nodes = await Promise.all(NAMES.map((name) => makeNode(name, folder, programs, user)))
    const cluster = new Cluster(folder, nodes, guard)
    const etcdFolder = await makeFolder(folder, 'etcd', user)
    const etcd = await startEtcd(programs, etcdFolder, user)
    for (const node of nodes) await node.start(settingsOf(node, { etcd, postgres: programs.postgres }))
    await cluster.untilComplete()
    return cluster
  } catch (error) {
    guard.stdin?.end() // it cleans up
    throw error
  }
}

async function makeNode(
  name: string,
  parent: string,
  programs: ClusterPrograms,
  user: ServerUser | undefined,
): Promise<ClusterNode> {
  const folder = await makeFolder(parent, name, user)
  const place = { name, folder, port: await freePort(), restPort: await freePort() }
  return new ClusterNode(place, programs, user)
}

async function makeFolder(parent: string, name: string, user: ServerUser | undefined): Promise<string> {
  const folder = join(parent, name)
  await mkdir(folder, { mode: 0o700 })
  await giveTo(user, folder)
  return folder
}
