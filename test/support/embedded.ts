/** PGlites that are there soon: making a database takes many times as long as loading one. */
import { existsSync, openAsBlob } from 'node:fs'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { PGlite } from '@electric-sql/pglite'
import { root } from './root.js'

/** With what is built, so that it goes with it. */
const folder = new URL('build/', root)

/** Gives an empty PGlite; the first one on a machine makes what the others are loaded from. */
export async function startPGlite(): Promise<PGlite> {
  return new PGlite({ loadDataDir: await template() })
}

async function template(): Promise<Blob> {
  const file = new URL(`.pglite-${await version()}.tar`, folder)
  if (!existsSync(file)) await makeTemplate(file)
  return openAsBlob(file)
}

async function makeTemplate(file: URL): Promise<void> {
  await using db = await PGlite.create()
  const data = await db.dumpDataDir('none')
  await mkdir(folder, { recursive: true })
  // Under its name only when it is whole: two may be making it.
  const part = new URL(`${file.href}.${process.pid}`)
  await writeFile(part, new Uint8Array(await data.arrayBuffer()))
  await rename(part, file)
}

async function version(): Promise<string> {
  const manifest = new URL('../package.json', import.meta.resolve('@electric-sql/pglite'))
  return (JSON.parse(await readFile(manifest, 'utf8')) as { version: string }).version
}
