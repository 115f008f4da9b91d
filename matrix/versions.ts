/** What a cell really runs on, as the programs themselves say. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { installedFolder, linkLibraries } from '../test/support/binaries.js'
import type { Cell } from './cells.js'
import { readManifest } from './place.js'
import { readFileSync } from 'node:fs'

export interface Versions {
  /** "Node 24.21.0". */
  readonly runtime: string
  readonly postgres: string
  readonly pg: string
}

const NAMES = { node: 'Node', bun: 'Bun', deno: 'Deno' } as const

export async function seeVersions({ kind, program, postgres, driver }: Cell): Promise<Versions> {
  const folder = postgres ?? installedFolder()
  await linkLibraries(folder)
  const manifest = driver === undefined ? readManifest('node_modules/pg') : readPackage(driver)
  return {
    runtime: `${NAMES[kind]} ${await askVersion(program!)}`,
    postgres: await askVersion(join(folder, 'bin/postgres')),
    pg: manifest.version,
  }
}

function readPackage(folder: string): { version: string } {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string }
}

/** The first number that a program tells of itself: "v24.21.0", "postgres (PostgreSQL) 18.4", "deno 2.9.6 (…)". */
async function askVersion(program: string): Promise<string> {
  const { stdout } = await promisify(execFile)(program, ['--version'])
  const version = /\d+(?:\.\d+)+/.exec(stdout)?.[0]
  if (version === undefined) throw new Error(`${program} does not tell its version: ${stdout}`)
  return version
}

export function describe({ runtime, postgres, pg }: Versions): string {
  return `${runtime}, PostgreSQL ${postgres}, pg ${pg}`
}
