/** Finds PgBouncer's program: the system's, else one that was fetched before, else it is fetched. */
import { access, cp } from 'node:fs/promises'
import { join } from 'node:path'
import { fetchPackage, libraryEnvironment } from './debian-package.js'
import { pathOf } from './root.js'
import { canReach, type ServerUser } from './server-user.js'

/** Where systems have it; Debian puts it where only root's PATH leads. */
const PLACES = ['/usr/sbin/pgbouncer', '/usr/bin/pgbouncer', '/usr/local/bin/pgbouncer']

/** Where its Debian package has it. */
const PACKAGED = 'usr/sbin/pgbouncer'

/** The package of this system, unpacked; `make clean` removes it with everything else that was made. */
const CACHE = pathOf(`node_modules/.cache/pgbouncer-${process.platform}-${process.arch}`)

/** A program that can be run. */
export interface Program {
  readonly path: string
  readonly env: NodeJS.ProcessEnv
}

type Found =
  | { readonly kind: 'installed'; readonly path: string }
  | { readonly kind: 'unpacked'; readonly root: string }
  | { readonly kind: 'missing'; readonly why: string }

let finding: Promise<Found> | undefined

function find(): Promise<Found> {
  finding ??= search()
  return finding
}

async function search(): Promise<Found> {
  for (const path of PLACES) if (await exists(path)) return { kind: 'installed', path }
  if (await exists(join(CACHE, PACKAGED))) return { kind: 'unpacked', root: CACHE }
  try {
    await fetchPackage('pgbouncer', PACKAGED, CACHE)
    return { kind: 'unpacked', root: CACHE }
  } catch (error) {
    const reason = (error as Error).message.trim().split('\n').at(-1)
    return { kind: 'missing', why: `PgBouncer is not installed, and could not be fetched: ${reason}` }
  }
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

/** Why there is no PgBouncer here; false when there is one. For the `skip` of a test. */
export async function whyNoPgBouncer(): Promise<string | false> {
  const found = await find()
  return found.kind === 'missing' && found.why
}

/**
 * The program as `user` can run it.
 *
 * @param spare a folder of the user's, for a copy where the user cannot go to the cache (a checkout below /root, say)
 */
export async function preparePgBouncer(user: ServerUser | undefined, spare: string): Promise<Program> {
  const found = await find()
  if (found.kind === 'missing') throw new Error(found.why)
  if (found.kind === 'installed') return { path: found.path, env: process.env }
  const reachable = await canReach(user, join(found.root, PACKAGED, '..'))
  const root = reachable ? found.root : join(spare, 'program')
  if (!reachable) await cp(found.root, root, { recursive: true, verbatimSymlinks: true })
  return { path: join(root, PACKAGED), env: await libraryEnvironment(root) }
}
