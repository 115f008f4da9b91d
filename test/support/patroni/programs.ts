/** Finds Patroni, etcd and the programs of PostgreSQL that Patroni needs. */
import { access, readdir, realpath } from 'node:fs/promises'
import { delimiter, dirname, join } from 'node:path'

/** What a cluster is made of; each is a path. */
export interface ClusterPrograms {
  readonly patroni: string
  readonly etcd: string
  /** The folder with the programs of PostgreSQL. */
  readonly postgres: string
}

/** The programs, or what is missing and how to get it. */
export type FoundPrograms = ClusterPrograms | { readonly missing: string }

/** The npm package with PostgreSQL has the first three only. */
const POSTGRES_PROGRAMS = ['initdb', 'pg_ctl', 'postgres', 'pg_basebackup', 'pg_controldata', 'pg_rewind']

/** Where Debian has its servers, a folder for each version. */
const DEBIAN_POSTGRES = '/usr/lib/postgresql'

const USUAL_PLACES = ['/usr/bin', '/usr/local/bin', '/usr/sbin']

export async function findClusterPrograms(): Promise<FoundPrograms> {
  const [patroni, etcd, postgres] = await Promise.all([
    findProgram('patroni'),
    findProgram('etcd'),
    findPostgres(),
  ])
  if (patroni && etcd && postgres) return { patroni, etcd, postgres }
  const missing = [
    ...(patroni ? [] : ['patroni']),
    ...(etcd ? [] : ['etcd-server']),
    ...(postgres ? [] : ['postgresql']),
  ]
  return { missing: `${missing.join(', ')} not found here; on Debian: apt-get install ${missing.join(' ')}` }
}

async function findProgram(name: string): Promise<string | undefined> {
  const folders = [...USUAL_PLACES, ...(process.env['PATH'] ?? '').split(delimiter)]
  for (const folder of folders) if (await exists(join(folder, name))) return join(folder, name)
  return undefined
}

/** The newest of Debian's, else the one that PATH leads to; only with all that Patroni needs. */
async function findPostgres(): Promise<string | undefined> {
  const versions = await readdir(DEBIAN_POSTGRES).catch(() => [])
  const newestFirst = versions.sort((a, b) => Number(b) - Number(a))
  const onPath = await findProgram('pg_rewind')
  const folders = newestFirst.map((version) => join(DEBIAN_POSTGRES, version, 'bin'))
  if (onPath !== undefined) folders.push(dirname(await realpath(onPath)))
  for (const folder of folders) {
    const there = await Promise.all(POSTGRES_PROGRAMS.map((name) => exists(join(folder, name))))
    if (there.every(Boolean)) return folder
  }
  return undefined
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
