/**
 * Runs the tests on each version that is supported, one after another: `make matrix`.
 *
 * ```
 * node build/matrix/matrix.js [--list] [--only=NAME,…] [TEST…]
 * ```
 *
 * A TEST is what `make test TESTS=…` takes; with one, nothing is kept. Otherwise the results go to
 * `matrix/results.json`, and from there to docs/testing.md.
 */
import { relative } from 'node:path'
import { allCells, isThere, isWanted, type Cell } from './cells.js'
import { readFlags, type Flags } from './flags.js'
import { logFile } from './place.js'
import { countSkipped, keepResult, readResults, type CellResult } from './results.js'
import { runCell, type CellOutcome } from './run-cell.js'
import { reasonLines, textTable } from './table.js'
import { describe, seeVersions } from './versions.js'
import { writePage } from './page.js'

const interrupter = new AbortController()

async function main({ only, list, tests }: Flags): Promise<void> {
  const cells = allCells()
  const wanted = cells.filter((cell) => isWanted(cell, only))
  if (wanted.length === 0) throw new Error(`no cell is called ${only.join()}; there are: ${namesOf(cells)}`)
  if (list) return listCells(wanted)
  const here = wanted.filter(isThere)
  for (const { name } of wanted.filter((cell) => !isThere(cell))) say(`${name}: not for this platform`)
  say(`runs the tests on ${here.length} of ${cells.length} cells: ${namesOf(here)}`)
  const outcomes = await runAll(here, tests, namesOf(cells).split(', '))
  if (outcomes.length === 0) return
  say(`\n${textTable(outcomes)}\n${reasonLines(outcomes).join('\n')}`)
  const failed = outcomes.filter((outcome) => outcome.failed > 0)
  if (failed.length > 0 || outcomes.length < here.length) process.exitCode = 1
}

async function listCells(cells: readonly Cell[]): Promise<void> {
  for (const cell of cells) {
    const also = cell.also.length === 0 ? '' : ` (${cell.also.join(' and ')}, too)`
    const what = isThere(cell) ? describe(await seeVersions(cell)) : 'not for this platform'
    say(`${cell.name.padEnd(12)} ${what}${also}`)
  }
}

async function runAll(
  cells: readonly Cell[],
  tests: readonly string[],
  order: readonly string[],
): Promise<CellOutcome[]> {
  const outcomes: CellOutcome[] = []
  for (const [index, cell] of cells.entries()) {
    const before = readResults().find(({ name }) => name === cell.name)
    const position = `[${index + 1}/${cells.length}] `
    const expected = before && tests.length === 0 ? countAll(before) : null
    const outcome = await runCell(cell, { tests, expected, position, signal: interrupter.signal })
    if (interrupter.signal.aborted) break
    outcomes.push(outcome)
    tell(outcome)
    if (tests.length === 0) keep(outcome, order)
  }
  return outcomes
}

function tell({ name, failures, passed, seconds }: CellOutcome): void {
  const log = relative(process.cwd(), logFile(name, 'txt'))
  if (failures.length === 0) return say(`  ${name}: ${passed} passed in ${seconds} s; ${log}`)
  say(`  ${name}: ${failures.length} FAILED, ${passed} passed in ${seconds} s; ${log} says why`)
  for (const failure of failures) say(`    ✖ ${failure}`)
}

/** A result that is kept has to be right: what failed is no news for those who read the page. */
function keep({ failures: _, ...result }: CellOutcome, order: readonly string[]): void {
  const all = keepResult(result, order)
  writePage(all)
}

function countAll(result: CellResult): number {
  return result.passed + result.failed + countSkipped(result)
}

function namesOf(cells: readonly Cell[]): string {
  return cells.map(({ name }) => name).join(', ')
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupter.abort())
await main(readFlags())
