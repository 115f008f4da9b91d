/** A project for yarn's Plug and Play whose packages come from where they are installed, so that no network is asked. */
import { existsSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathOf } from './root.js'

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

/** A package and all that it needs, by where they are installed: none of them is there in two versions. */
function closure(names: readonly string[], found = new Map<string, string>()): Map<string, string> {
  for (const name of names) {
    const folder = pathOf(`node_modules/${name}`)
    if (found.has(name) || !existsSync(folder)) continue
    found.set(name, folder)
    const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest
    closure(Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies }), found)
  }
  return found
}

export async function preparePlugAndPlay(folder: string, tarball: string): Promise<void> {
  const { dependencies = {} } = JSON.parse(readFileSync(pathOf('package.json'), 'utf8')) as Manifest
  const resolutions = [...closure(Object.keys(dependencies))].map(([name, path]) => [name, `portal:${path}`])
  const manifest = {
    name: 'project',
    dependencies: { 'pg-managed-connection': `file:${tarball}` },
    resolutions: Object.fromEntries(resolutions) as Record<string, string>,
  }
  const rules = [
    'nodeLinker: pnp',
    'enableNetwork: false',
    'enableTelemetry: false',
    'enableGlobalCache: false',
  ]
  await writeFile(join(folder, 'package.json'), JSON.stringify(manifest))
  await writeFile(join(folder, '.yarnrc.yml'), `${rules.join('\n')}\n`)
  await writeFile(join(folder, 'yarn.lock'), '')
}
