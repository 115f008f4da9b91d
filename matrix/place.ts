/** Where things are: the checkout, and what is installed for the matrix alone. */
import { existsSync, readFileSync } from 'node:fs'
import { pathOf } from '../test/support/root.js'

export interface Manifest {
  readonly version: string
  readonly optionalDependencies: Readonly<Record<string, string>>
}

/** The folder of a package that `matrix/package.json` names; null where this platform has none of it. */
export function packageFolder(name: string): string | null {
  const folder = pathOf(`matrix/node_modules/${name}`)
  return existsSync(folder) ? folder : null
}

/** A package.json, by the path of its folder from the root of the checkout. */
export function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(pathOf(`${folder}/package.json`), 'utf8')) as Manifest
}

/** What is written while a cell runs: what the tests said, and a line for each of them. */
export function logFile(cell: string, ending: 'txt' | 'jsonl'): string {
  return pathOf(`build/matrix-logs/${cell}.${ending}`)
}
