/** Runs the load in a process of its own, and says what is wrong with its figures. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { LoadFigures } from './load.js'

export interface LoadOptions {
  readonly conninfo: string
  /** How many transactions are asked for at once. */
  readonly queued: number
  /** How long the run is over which memory is watched. */
  readonly millis: number
  readonly seed: number
}

/** How much more may be in use after the long run than after its warm-up. */
const FLAT_BYTES = 2 * 1024 * 1024

export async function runLoad({ conninfo, queued, millis, seed }: LoadOptions): Promise<LoadFigures> {
  const program = fileURLToPath(new URL('load.js', import.meta.url))
  const given = [conninfo, queued, millis, seed].map(String)
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', program, ...given], {
    timeout: 3_600_000 + millis,
  })
  return JSON.parse(stdout) as LoadFigures
}

/** A sentence for each thing that is wrong. */
export function judgeLoad(figures: LoadFigures): string[] {
  const { queued, confirmed, timedOut, aborted, stored, heapBefore, heapAfter } = figures
  const wrong: string[] = []
  if (confirmed + timedOut + aborted !== queued) wrong.push('not everybody was told how it ended')
  if (stored !== confirmed) wrong.push(`${confirmed} were told that they are stored, and ${stored} are`)
  if (timedOut === 0 || aborted === 0) wrong.push('nobody gave up, so giving up was not tried')
  if (heapAfter > heapBefore + FLAT_BYTES)
    wrong.push(`the heap has grown from ${heapBefore} to ${heapAfter} bytes`)
  return wrong
}
