/** A program out of a Debian package, fetched and unpacked into a folder: as an ordinary user, and nothing is installed. */
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
    folders.push(...names.filter((name) => /-linux-/.test(name)).map((name) => join(root, base, name)))
  }
  const before = process.env['LD_LIBRARY_PATH']
  return { ...process.env, LD_LIBRARY_PATH: [...folders, ...(before ? [before] : [])].join(':') }
}

/**
 * Fetches `name` with the libraries that are missing here, and unpacks all of it to `target`.
 *
 * @param program where the package has its program, such as `usr/sbin/pgbouncer`
 * @throws where there is no apt-get, no network or no such package
 */
export async function fetchPackage(name: string, program: string, target: string): Promise<void> {
  await mkdir(dirname(target), { recursive: true })
  const folder = await mkdtemp(`${target}.`)
  try {
    for (const part of ['state/lists/partial', 'cache/archives/partial', 'packages', 'root']) {
      await mkdir(join(folder, part), { recursive: true })
    }
    await apt(folder, 'update')
    await unpackWithLibraries(folder, name, program)
    await putInPlace(join(folder, 'root'), target)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function unpackWithLibraries(folder: string, name: string, program: string): Promise<void> {
  const root = join(folder, 'root')
  const unpacked = new Set<string>()
  let wanted = [name]
  for (let depth = 0; depth <= MAX_DEPTH; depth++) {
    const needed: string[] = []
    for (const one of wanted.filter((each) => !unpacked.has(each))) {
      unpacked.add(one)
      needed.push(...(await unpack(folder, one)))
    }
    const missing = await missingLibraries(root, program)
    if (missing.length === 0) return
    wanted = needed
  }
  throw new Error(`libraries are missing: ${(await missingLibraries(root, program)).join(', ')}`)
}

/** Unpacks one package; the libraries' packages that it needs. */
async function unpack(folder: string, name: string): Promise<string[]> {
  const packages = join(folder, 'packages')
  await apt(folder, 'download', name)
  const files = (await readdir(packages)).filter((file) => file.startsWith(`${name}_`))
  const file = join(packages, files[0] ?? `${name}.deb`)
  await run('dpkg', ['-x', file, join(folder, 'root')], { timeout: STEP_MILLIS })
  const { stdout } = await run('dpkg', ['-f', file, 'Depends'], { timeout: STEP_MILLIS })
  const needed = stdout.split(',').map((one) => /^\s*([a-z0-9][a-z0-9+.-]*)/.exec(one)?.[1] ?? '')
  return needed.filter((one) => one.startsWith('lib') && !NEVER_UNPACKED.has(one))
}

async function missingLibraries(root: string, program: string): Promise<string[]> {
  const { stdout } = await run('ldd', [join(root, program)], {
    env: await libraryEnvironment(root),
    timeout: STEP_MILLIS,
  })
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
