/** Where and with what it was measured: figures mean nothing without it. */
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { arch, cpus, loadavg, platform, release, totalmem } from 'node:os'
import type { Admin } from '../test/support/admin.js'
import { isSocketFolder } from '../test/support/address.js'
import { FOLDER, PEERS, peerVersion } from './peers.js'
import { pgbenchProgram } from './pgbench-program.js'
import type { Place } from './place.js'

export interface Environment {
  /** Of the beginning, in UTC. */
  readonly date: string
  readonly cpu: string
  readonly cpuCount: number
  readonly memoryGigabytes: number
  readonly system: string
  /** How busy the machine was before we began: 0 is best. */
  readonly load: number
  readonly transport: 'Unix socket' | 'TCP'
  /** By name; null is "not installed". */
  readonly versions: Readonly<Record<string, string | null>>
}

export async function describeEnvironment({ login }: Place, admin: Admin): Promise<Environment> {
  const processors = cpus()
  return {
    date: new Date().toISOString(),
    cpu: processors[0]?.model.trim() || 'unknown',
    cpuCount: processors.length,
    memoryGigabytes: Math.round(totalmem() / 2 ** 30),
    system: `${platform()} ${release()} ${arch()}`,
    load: loadavg()[0]!,
    transport: isSocketFolder(login.host) ? 'Unix socket' : 'TCP',
    versions: await describeVersions(admin),
  }
}

async function describeVersions(admin: Admin): Promise<Record<string, string | null>> {
  const [server] = await admin.rows<{ server_version: string }>('SHOW server_version')
  const peers = await Promise.all(PEERS.map(async (name) => [name, await peerVersion(name)] as const))
  return {
    'pg-managed-connection': await packageVersion(new URL('../package.json', FOLDER)),
    node: process.versions.node,
    PostgreSQL: server?.server_version ?? null,
    pg: await packageVersion(createRequire(import.meta.url).resolve('pg/package.json')),
    ...Object.fromEntries(peers),
    pgbench: (await pgbenchProgram())?.version ?? null,
  }
}

async function packageVersion(file: string | URL): Promise<string> {
  return (JSON.parse(await readFile(file, 'utf8')) as { version: string }).version
}
