/** Finds Patroni, etcd and the programs of PostgreSQL that Patroni needs: the system's, else they are fetched. */
import { access, readdir, realpath } from 'node:fs/promises'
import { delimiter, dirname, join } from 'node:path'
import type { ServerUser } from '../server-user.js'
import { environmentFor, fetchAll, reachableTo } from './fetched.js'

/** What a cluster is made of; each is a path. */
export interface ClusterPrograms {
  readonly patroni: string
  readonly etcd: string
  /** The folder with the programs of PostgreSQL. */
  readonly postgres: string
  /** What they need in their environment. */
  readonly env: NodeJS.ProcessEnv
}

/** Where the programs are, or what is missing and how to get it. */
export type FoundPrograms = { readonly missing: string } | { readonly fetched: string | undefined }

/** The npm package with PostgreSQL has the first three only. */
const POSTGRES_PROGRAMS = ['initdb', 'pg_ctl', 'postgres', 'pg_basebackup', 'pg_controldata', 'pg_rewind']

/** Where Debian has its servers, a folder for each version. */
const DEBIAN_POSTGRES = 'usr/lib/postgresql'

const USUAL_PLACES = ['usr/bin', 'usr/local/bin', 'usr/sbin']

/** Debian's packages, and what is looked for in each. */
const PACKAGES: ReadonlyMap<string, (root?: string) => Promise<string | undefined>> = new Map([
  ['patroni', (root) => findProgram('patroni', root)],
  ['etcd-server', (root) => findProgram('etcd', root)],
  ['postgresql', findPostgres],
])

/** Looks for all that a cluster needs. What is not installed is fetched, where that can be. */
export async function findClusterPrograms(): Promise<FoundPrograms> {
  const missing: string[] = []
  for (const [name, find] of PACKAGES) if ((await find()) === undefined) missing.push(name)
  if (missing.length === 0) return { fetched: undefined }
  const names = missing.join(', ')
  const help = `on Debian: apt-get install ${missing.join(' ')}`
  if (!(await exists('/usr/bin/python3'))) return { missing: `${names}, python3 not found here; ${help}` }
  try {
    return { fetched: await fetchAll(missing) }
  } catch (error) {
    const reason = (error as Error).message.trim().split('\n').at(-1)
    return { missing: `${names} not found here, and could not be fetched: ${reason}; ${help}` }
  }
}

/**
 * The programs as `user` can run them.
 *
 * @param spare a folder for a copy of what was fetched
 */
export async function prepareClusterPrograms(
  { fetched }: { readonly fetched: string | undefined },
  user: ServerUser | undefined,
  spare: string,
): Promise<ClusterPrograms> {
  const root = fetched === undefined ? undefined : await reachableTo(user, fetched, spare)
  const [patroni, etcd, postgres] = await Promise.all(
    [...PACKAGES].map(async ([name, find]) => {
      const path = (await find()) ?? (root === undefined ? undefined : await find(root))
      if (path === undefined) throw new Error(`the package ${name} has not what was expected of it`)
      return path
    }),
  )
  const env = root === undefined ? {} : await environmentFor(root)
  return { patroni: patroni!, etcd: etcd!, postgres: postgres!, env }
}

/** @param root where packages were unpacked, else the system and its PATH */
async function findProgram(name: string, root?: string): Promise<string | undefined> {
  const path = root === undefined ? (process.env['PATH'] ?? '').split(delimiter) : []
  const folders = [...USUAL_PLACES.map((place) => join(root ?? '/', place)), ...path]
  for (const folder of folders) if (await exists(join(folder, name))) return join(folder, name)
  return undefined
}

/** The newest of Debian's, else the one that PATH leads to; only with all that Patroni needs. */
async function findPostgres(root?: string): Promise<string | undefined> {
  const place = join(root ?? '/', DEBIAN_POSTGRES)
  const versions = await readdir(place).catch(() => [])
  const newestFirst = versions.sort((a, b) => Number(b) - Number(a))
  const folders = newestFirst.map((version) => join(place, version, 'bin'))
  const onPath = root === undefined ? await findProgram('pg_rewind') : undefined
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
