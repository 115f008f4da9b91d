/** A copy of the checkout in which another `pg` is installed: what resolves it there gets that one, whoever it is. */
import { cp, link, mkdir, readdir, rm, symlink, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { pathOf } from '../test/support/root.js'

/** Not needed there: the history, and what the copies themselves are in. */
const LEFT_OUT: ReadonlySet<string> = new Set(['.git', 'matrix-trees', 'matrix-logs'])

export interface Tree extends AsyncDisposable {
  readonly folder: string
}

/** Makes the copy, of hard links: it costs no space, and a second or two. */
export async function plantTree(name: string, driver: string): Promise<Tree> {
  const folder = pathOf(`build/matrix-trees/${name}`)
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true })
  await remove()
  await linkAll(pathOf(), folder)
  const place = join(folder, 'node_modules/pg')
  await rm(place, { recursive: true })
  await cp(driver, place, { recursive: true })
  return { folder, [Symbol.asyncDispose]: remove }
}

async function linkAll(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true })
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (LEFT_OUT.has(entry.name)) continue
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) await linkAll(source, target)
    else if (entry.isSymbolicLink()) await symlink(await readlink(source), target)
    else if (entry.isFile()) await link(source, target)
  }
}
