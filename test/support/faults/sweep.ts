/** Every byte of the reference conversation, with each fault: many trials at a time. */
import type { Random } from '../random.js'
import { watchLeaks } from '../leaks.js'
import type { CutKind, Direction } from '../proxy.js'
import type { Grounds } from './grounds.js'
import { measureConversation, runTrial, type Encryption, type Fault } from './trial.js'

const ENCRYPTIONS: readonly Encryption[] = ['plain', 'tls']
const DIRECTIONS: readonly Direction[] = ['toServer', 'toClient']
export const FAULTS: readonly CutKind[] = ['reset', 'fin', 'deaf']

/** The lengths of the conversation. */
export type Lengths = Record<Encryption, Record<Direction, number>>

const SHORTEST_PATIENCE_MILLIS = 300

/**
 * Measures the conversation; its TLS handshake varies by a few bytes, so the longest of `atOnce` counts. They run at
 * the same time, as the trials will: deaf peers get limits that this machine can keep to.
 */
export async function measureLengths(grounds: Grounds, atOnce = 5): Promise<Lengths> {
  const lengths = { plain: { toServer: 0, toClient: 0 }, tls: { toServer: 0, toClient: 0 } }
  let slowest = 0
  const measure = async (encryption: Encryption): Promise<void> => {
    const { bytes, millis } = await measureConversation(grounds, encryption)
    const longest = lengths[encryption]
    for (const direction of DIRECTIONS) longest[direction] = Math.max(longest[direction], bytes[direction])
    slowest = Math.max(slowest, millis)
  }
  await measure('plain')
  for (const encryption of ENCRYPTIONS)
    await Promise.all(Array.from({ length: atOnce }, () => measure(encryption)))
  grounds.patienceMillis = Math.round(Math.min(Math.max(2 * slowest, SHORTEST_PATIENCE_MILLIS), 3_000))
  return lengths
}

/** All faults at every `stride`-th byte, from `offset` on; position 0 is before the first byte. */
export function planFaults(lengths: Lengths, { stride = 1, offset = 0 } = {}): Fault[] {
  const faults: Fault[] = []
  for (const encryption of ENCRYPTIONS)
    for (const direction of DIRECTIONS)
      for (let bytes = offset; bytes <= lengths[encryption][direction]; bytes += stride)
        for (const how of FAULTS) faults.push({ encryption, direction, bytes, how })
  return faults
}

/** In any order, so that a run that is cut short has tried places all over the conversation. */
export function shuffle<T>(items: readonly T[], random: Random): T[] {
  const shuffled = [...items]
  for (let last = shuffled.length - 1; last > 0; last--) {
    const other = random.below(last + 1)
    ;[shuffled[last], shuffled[other]] = [shuffled[other]!, shuffled[last]!]
  }
  return shuffled
}

/** What has been found so far. */
export interface Tally {
  trials: number
  /** The fault's place lay behind the end of the conversation. */
  notReached: number
  confirmed: number
  refused: number
  unknown: number
  longestMillis: number
  readonly wrong: string[]
}

export interface SweepOptions {
  /** How many trials run at the same time. */
  readonly atOnce: number
  /** After so many trials nothing may be left in this process. */
  readonly wave: number
  /** No wave begins later, on `performance.now()`'s clock. */
  readonly deadline?: number
  readonly onProgress?: (tally: Tally, all: number) => void
}

/** Tries all faults; what is wrong is in the tally. */
export async function sweep(
  grounds: Grounds,
  faults: readonly Fault[],
  options: SweepOptions,
): Promise<Tally> {
  const tally: Tally = {
    trials: 0,
    notReached: 0,
    confirmed: 0,
    refused: 0,
    unknown: 0,
    longestMillis: 0,
    wrong: [],
  }
  await grounds.ask('SELECT')
  for (let start = 0; start < faults.length; start += options.wave) {
    if (performance.now() > (options.deadline ?? Infinity)) break
    const watch = watchLeaks({ graceMillis: 5_000 })
    const wave = faults.slice(start, start + options.wave)
    await runWave(grounds, wave, options.atOnce, (fault, verdict) => {
      note(tally, fault, verdict)
      options.onProgress?.(tally, faults.length)
    })
    for (const leak of await watch.check())
      tally.wrong.push(
        `after ${describeFault(wave[0]!)} and the ${wave.length - 1} faults behind it: ${leak}`,
      )
  }
  return tally
}

type Trial = Awaited<ReturnType<typeof runTrial>>

async function runWave(
  grounds: Grounds,
  faults: readonly Fault[],
  atOnce: number,
  done: (fault: Fault, verdict: Trial) => void,
): Promise<void> {
  let next = 0
  const runOn = async (): Promise<void> => {
    for (let fault = faults[next++]; fault !== undefined; fault = faults[next++])
      done(fault, await runTrial(grounds, fault.encryption, fault))
  }
  await Promise.all(Array.from({ length: atOnce }, runOn))
}

function note(tally: Tally, fault: Fault, verdict: Trial): void {
  tally.trials++
  if (!verdict.happened) tally.notReached++
  for (const figure of ['confirmed', 'refused', 'unknown'] as const) tally[figure] += verdict[figure]
  tally.longestMillis = Math.max(tally.longestMillis, verdict.longestMillis)
  for (const sentence of verdict.wrong) tally.wrong.push(`${describeFault(fault)}: ${sentence}`)
}

function describeFault({ encryption, direction, bytes, how }: Fault): string {
  return `${how} at byte ${bytes} ${direction}, ${encryption}`
}
