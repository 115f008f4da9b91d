/** What came out, in a file that is kept: a cell that runs again takes the place of what it was. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import type { TestRecord } from '../test/support/record-reporter.js'
import { pathOf } from '../test/support/root.js'
import type { Versions } from './versions.js'

export interface CellResult {
  readonly name: string
  readonly versions: Versions
  /** Of the day, in UTC. */
  readonly date: string
  readonly seconds: number
  readonly passed: number
  readonly failed: number
  /** How many tests were left out, by why. */
  readonly skipped: Readonly<Record<string, number>>
}

const FILE = pathOf('matrix/results.json')

/** Counts what became of the tests. */
export function countOutcomes(
  records: readonly TestRecord[],
): Pick<CellResult, 'passed' | 'failed' | 'skipped'> {
  const count = (outcome: TestRecord['outcome']): number =>
    records.filter((record) => record.outcome === outcome).length
  const skipped: Record<string, number> = {}
  for (const { outcome, reason = 'no reason is given' } of records) {
    if (outcome === 'skipped') skipped[reason] = (skipped[reason] ?? 0) + 1
  }
  return { passed: count('passed'), failed: count('failed'), skipped }
}

export function countSkipped({ skipped }: Pick<CellResult, 'skipped'>): number {
  return Object.values(skipped).reduce((sum, count) => sum + count, 0)
}

/** What is kept, in the order in which it was written. */
export function readResults(): CellResult[] {
  return existsSync(FILE) ? (JSON.parse(readFileSync(FILE, 'utf8')) as CellResult[]) : []
}

/** Keeps a result, in the order of the cells, and returns all that are kept. */
export function keepResult(result: CellResult, order: readonly string[]): CellResult[] {
  const others = readResults().filter(({ name }) => name !== result.name)
  const all = [...others, result].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name))
  writeFileSync(FILE, `${JSON.stringify(all, null, 2)}\n`)
  return all
}
