/** Writes what was measured into the folder `results`. */
import { mkdir, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { FOLDER } from '../peers.js'
import type { Results } from '../results.js'
import { drawChart } from './chart.js'
import { markdownTable } from './markdown.js'
import { drawShortChart } from './short-chart.js'

/** Where README.md has its chart. */
const SHORT_CHART = new URL('../docs/throughput.svg', FOLDER)

/** The name of the results of a full run. */
export const FULL_RUN = 'latest'

/** Returns the files. */
export async function save(results: Results, name: string): Promise<string[]> {
  const folder = new URL('results/', FOLDER)
  await mkdir(folder, { recursive: true })
  const texts = {
    svg: drawChart(results),
    md: markdownTable(results, `${name}.svg`),
    json: `${JSON.stringify(results, null, 2)}\n`,
  }
  const files: string[] = []
  for (const [ending, text] of Object.entries(texts)) {
    const file = fileURLToPath(new URL(`${name}.${ending}`, folder))
    await writeFile(file, text)
    files.push(file)
  }
  if (name === FULL_RUN) {
    await writeFile(SHORT_CHART, drawShortChart(results))
    files.push(fileURLToPath(SHORT_CHART))
  }
  return files
}
