/** Finds pgbench. */
import { execFile } from 'node:child_process'
import { access, constants, readdir } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

/** Where Debian and Ubuntu keep the programs of each major version. */
const VERSIONED = '/usr/lib/postgresql'

export interface Program {
  readonly path: string
  readonly version: string
}

let found: Promise<Program | null> | null = null

/** The one in PATH, else that of the newest PostgreSQL that is installed, else null. Looked for once. */
export function pgbenchProgram(): Promise<Program | null> {
  return (found ??= find())
}

async function find(): Promise<Program | null> {
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), ...(await versionedFolders())]) {
    const path = join(folder, 'pgbench')
    const version = await versionOf(path).catch(() => null)
    if (version !== null) return { path, version }
  }
  return null
}

async function versionedFolders(): Promise<string[]> {
  const versions = await readdir(VERSIONED).catch(() => [])
  return versions.toSorted((a, b) => Number(b) - Number(a)).map((version) => join(VERSIONED, version, 'bin'))
}

async function versionOf(path: string): Promise<string> {
  await access(path, constants.X_OK)
  const { stdout } = await promisify(execFile)(path, ['--version'])
  return /\d+(\.\d+)*/.exec(stdout)?.[0] ?? stdout.trim()
}
