/** Programs out of Debian packages, fetched and unpacked into a folder: as an ordinary user, and nothing is installed. */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** How long one step may take, in milliseconds: a slow mirror is none. */
const STEP_MILLIS = 120_000

/** How far the packages of libraries are followed: those that the program needs, those that these need, and so on. */
const MAX_DEPTH = 4

/** The system's own; another beside it would not go together with the program loader. */
const NEVER_UNPACKED: ReadonlySet<string> = new Set(['libc6', 'libgcc-s1', 'libstdc++6'])

/** apt-get with all that it writes in `folder`: the system's lists and caches stay as they are. */
async function apt(folder: string, ...args: readonly string[]): Promise<void> {
  const options = [
    `Dir::State=${folder}/state`,
    `Dir::Cache=${folder}/cache`,
    'Acquire::Retries=1',
    'Acquire::http::Timeout=20',
    'Acquire::https::Timeout=20',
    // Root would have another user write into the folder, who may not.
    'APT::Sandbox::User=root',
  ]
  await run('apt-get', [...options.flatMap((option) => ['-o', option]), '-qq', ...args], {
    cwd: join(folder, 'packages'),
    timeout: STEP_MILLIS,
  })
}

/** The environment in which a program finds the libraries that were unpacked beside it. */
export async function libraryEnvironment(root: string): Promise<NodeJS.ProcessEnv> {
  const folders: string[] = []
  for (const base of ['usr/lib', 'lib']) {
    const names = await readdir(join(root, base)).catch(() => [])
    const own = names.filter((name) => /-linux-/.test(name)).map((name) => join(root, base, name))
    // PulseAudio keeps the library that its library needs in a folder of its own.
    folders.push(...own, ...own.map((folder) => join(folder, 'pulseaudio')))
  }
  const before = process.env['LD_LIBRARY_PATH']
  return { ...process.env, LD_LIBRARY_PATH: [...folders, ...(before ? [before] : [])].join(':') }
}

/** What is fetched. */
export interface Parcel {
  readonly names: readonly string[]
  /** Packages that are unpacked, too, where one of them needs them; libraries are when they are missing. */
  readonly follow?: RegExp
  /** What has to find its libraries, below the folder that all was unpacked to: `usr/sbin/pgbouncer`. */
  programs(root: string): Promise<readonly string[]>
}

/** Fetches `name` with the libraries that its program misses here, and unpacks all of it to `target`. */
export function fetchPackage(name: string, program: string, target: string): Promise<void> {
  return fetchPackages({ names: [name], programs: async () => [program] }, target)
}

/**
 * Fetches packages with the libraries that are missing here, and unpacks all of it to `target`.
 *
 * @throws where there is no apt-get, no network or no such package
 */
export async function fetchPackages(parcel: Parcel, target: string): Promise<void> {
  await mkdir(dirname(target), { recursive: true })
  const folder = await mkdtemp(`${target}.`)
  try {
    for (const part of ['state/lists/partial', 'cache/archives/partial', 'packages', 'root']) {
      await mkdir(join(folder, part), { recursive: true })
    }
    await apt(folder, 'update')
    await unpackWithLibraries(folder, parcel)
    await putInPlace(join(folder, 'root'), target)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function unpackWithLibraries(folder: string, { names, follow, programs }: Parcel): Promise<void> {
  const root = join(folder, 'root')
  const unpacked = new Set<string>()
  const unpackAll = async (wanted: readonly string[]): Promise<string[]> => {
    const libraries: string[] = []
    const added = [...new Set(wanted)].filter((each) => !unpacked.has(each))
    for (const one of added) unpacked.add(one)
    // All with one command: it takes apt-get seconds to read its lists.
    if (added.length > 0) await apt(folder, 'download', ...added)
    for (const one of added) {
      const needed = await unpack(folder, one)
      libraries.push(...needed.filter(isLibrary))
      libraries.push(...(await unpackAll(needed.filter((each) => follow?.test(each)))))
    }
    return libraries
  }
  let wanted: readonly string[] = names
  for (let depth = 0; depth <= MAX_DEPTH; depth++) {
    const libraries = await unpackAll(wanted)
    if ((await missingLibraries(root, await programs(root))).length === 0) return
    wanted = libraries
  }
  const missing = await missingLibraries(root, await programs(root))
  throw new Error(`libraries are missing: ${missing.join(', ')}`)
}

function isLibrary(name: string): boolean {
  return name.startsWith('lib') && !NEVER_UNPACKED.has(name)
}

/** Unpacks one package that was downloaded; gives those that it needs. */
async function unpack(folder: string, name: string): Promise<string[]> {
  const packages = join(folder, 'packages')
  const files = (await readdir(packages)).filter((file) => file.startsWith(`${name}_`))
  const file = join(packages, files[0] ?? `${name}.deb`)
  await run('dpkg', ['-x', file, join(folder, 'root')], { timeout: STEP_MILLIS })
  const { stdout } = await run('dpkg', ['-f', file, 'Depends'], { timeout: STEP_MILLIS })
  return stdout.split(',').map((one) => /^\s*([a-z0-9][a-z0-9+.-]*)/.exec(one)?.[1] ?? '')
}

async function missingLibraries(root: string, programs: readonly string[]): Promise<string[]> {
  if (programs.length === 0) return []
  const paths = programs.map((program) => join(root, program))
  const { stdout } = await run('ldd', paths, { env: await libraryEnvironment(root), timeout: STEP_MILLIS })
  return [...stdout.matchAll(/^\s*(\S+) => not found/gm)].map(([, library]) => library!)
}

/** Under its name only when it is whole: two may be fetching it, and then the first one's will do. */
async function putInPlace(made: string, target: string): Promise<void> {
  try {
    await rename(made, target)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error
  }
}
