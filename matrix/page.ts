/** The results in the documentation: a part of a page that nobody writes by hand. */
import { readFileSync, writeFileSync } from 'node:fs'
import { pathOf } from '../test/support/root.js'
import type { CellResult } from './results.js'
import { markdownTable, reasonLines } from './table.js'

const PAGE = pathOf('docs/testing.md')
const README = pathOf('README.md')
/** The end of a sentence in README.md, which names the versions. */
const TESTED = /(?<=\[tested\]\(docs\/testing\.md#versions\) on )[^.]+(?=\.)/
const PART = /(<!-- matrix: begin[^>]*-->\n)[^]*(<!-- matrix: end -->)/

/** What stands on the page between the two marks. */
export function pagePart(results: readonly CellResult[]): string {
  if (results.length === 0) return '\nNo results are kept yet.\n\n'
  const dates = results.map(({ date }) => date).sort()
  const reasons = reasonLines(results)
  const left = reasons.length === 0 ? '' : `\nLeft out, and why:\n\n${reasons.join('\n')}\n`
  return `\n${markdownTable(results)}\n\nRun from ${dates[0]} to ${dates.at(-1)}.\n${left}\n`
}

export function writePage(results: readonly CellResult[]): void {
  const page = readFileSync(PAGE, 'utf8')
  writeFileSync(
    PAGE,
    page.replace(PART, (_, begin: string, end: string) => begin + pagePart(results) + end),
  )
  writeFileSync(README, readFileSync(README, 'utf8').replace(TESTED, readmeVersions(results)))
}

/** The part of a page that {@link writePage} writes. */
export function readPart(page: string): string {
  return PART.exec(page)![0]
    .replace(/^.*\n/, '')
    .replace(/<!-- matrix: end -->$/, '')
}

/** The versions that a text of README.md names. */
export function readTested(text: string): string | undefined {
  return TESTED.exec(text)?.[0]
}

/** The versions that README.md has to name: those on which nothing failed. "Node 20 and 24, PostgreSQL 14, 15 and 18, Bun". */
export function readmeVersions(results: readonly CellResult[]): string {
  const green = results.filter(({ failed }) => failed === 0).map(({ versions }) => versions)
  const runtimes = green.map(({ runtime }) => runtime)
  const nodes = majors(runtimes.filter((runtime) => runtime.startsWith('Node')))
  const servers = majors(green.map(({ postgres }) => postgres))
  const others = ['Bun', 'Deno'].filter((name) => runtimes.some((runtime) => runtime.startsWith(name)))
  return [`Node ${list(nodes)}`, `PostgreSQL ${list(servers)}`, ...others].join(', ')
}

function majors(versions: readonly string[]): number[] {
  const numbers = versions.map((version) => Number.parseInt(version.replace(/^\D+/, '')))
  return [...new Set(numbers)].sort((a, b) => a - b)
}

function list(numbers: readonly number[]): string {
  return numbers.join(', ').replace(/, (\d+)$/, ' and $1')
}
