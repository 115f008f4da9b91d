/** What is not installed, fetched as Debian's packages and unpacked: nothing is installed by that. */
import { access, cp, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fetchPackages, libraryEnvironment } from '../debian-package.js'
import { pathOf } from '../root.js'
import { canReach, type ServerUser } from '../server-user.js'

const CACHE = 'node_modules/.cache'
const POSTGRES = 'usr/lib/postgresql'
const PYTHON = 'usr/lib/python3/dist-packages'

/** Patroni's libraries of Python, and the version that the package `postgresql` stands for. */
const FOLLOWED = /^(python3-.+|postgresql-(client-)?\d+)$/

/** Gives the folder with all of these packages; they are fetched once. */
export async function fetchAll(packages: readonly string[]): Promise<string> {
  const target = pathOf(`${CACHE}/${packages.join('-')}-${process.platform}-${process.arch}`)
  const isThere = await access(target).then(
    () => true,
    () => false,
  )
  if (!isThere) await fetchPackages({ names: packages, follow: FOLLOWED, programs: findPrograms }, target)
  return target
}

/** What has to find its libraries: programs, and what Python loads. */
async function findPrograms(root: string): Promise<string[]> {
  const found = await Promise.all([
    filesBelow(root, 'usr/bin', (name) => name === 'etcd'),
    filesBelow(root, POSTGRES, (name) => /^\d+\/bin\/(postgres|pg_\w+|initdb)$/.test(name)),
    filesBelow(root, PYTHON, (name) => name.endsWith('.so')),
  ])
  return found.flat()
}

async function filesBelow(
  root: string,
  folder: string,
  wanted: (name: string) => boolean,
): Promise<string[]> {
  const names = await readdir(join(root, folder), { recursive: true }).catch(() => [])
  return names.filter(wanted).map((name) => join(folder, name))
}

/** The same folder, or a copy in `spare` where the user cannot go there (a checkout below /root, say). */
export async function reachableTo(
  user: ServerUser | undefined,
  root: string,
  spare: string,
): Promise<string> {
  if (await canReach(user, join(root, 'usr'))) return root
  await cp(root, spare, { recursive: true, verbatimSymlinks: true })
  return spare
}

/** The environment in which programs from the folder find what they need. */
export async function environmentFor(root: string): Promise<NodeJS.ProcessEnv> {
  const { LD_LIBRARY_PATH } = await libraryEnvironment(root)
  return { LD_LIBRARY_PATH, PYTHONPATH: join(root, PYTHON) }
}
