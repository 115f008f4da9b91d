/** The package as users get it: packed, and unpacked in a folder of theirs. */
import { execFile } from 'node:child_process'
import { mkdir, readdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { pathOf } from './root.js'

const run = promisify(execFile)

/** Packs what is built and gives the path of the tarball. Without scripts: they would build while tests run. */
export async function pack(folder: string): Promise<string> {
  const args = ['pack', '--silent', '--offline', '--ignore-scripts', '--pack-destination', folder]
  await run('npm', args, { cwd: pathOf() })
  const [name] = (await readdir(folder)).filter((file) => file.endsWith('.tgz'))
  return join(folder, name!)
}

/** Unpacks the tarball into a project's node_modules, beside what the package depends on. */
export async function install(
  tarball: string,
  project: string,
  { without = [] }: { readonly without?: readonly string[] } = {},
): Promise<void> {
  const modules = join(project, 'node_modules')
  const target = join(modules, 'pg-managed-connection')
  await mkdir(target, { recursive: true })
  await run('tar', ['-xzf', tarball, '-C', target, '--strip-components=1'])
  const installed = await readdir(pathOf('node_modules'))
  const wanted = installed.filter((name) => !name.startsWith('.') && !without.includes(name))
  await Promise.all(wanted.map((name) => symlink(pathOf(`node_modules/${name}`), join(modules, name))))
}
