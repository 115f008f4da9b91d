/**
 * Prints where the time of a CPU profile goes: the functions that ran longest themselves, and the same by package.
 *
 * ```
 * node build/bench/self-times.js bench/results/profiles/transaction.cpuprofile [HOW_MANY]
 * ```
 */
import { readFile } from 'node:fs/promises'
import type { Profiler } from 'node:inspector'

interface Profile extends Profiler.Profile {
  readonly operations?: number
}

type Label = (frame: Profiler.ProfileNode['callFrame']) => string

const [file, howMany = '30'] = process.argv.slice(2)
if (file === undefined) throw new Error('usage: self-times.js FILE.cpuprofile [HOW_MANY]')

const profile = JSON.parse(await readFile(file, 'utf8')) as Profile
print('by package', packageOf, Infinity)
print('by function', functionOf, Number(howMany))

function print(title: string, label: Label, most: number): void {
  const times = selfTimes(label)
  const total = [...times.values()].reduce((sum, micros) => sum + micros, 0)
  const sorted = [...times].toSorted(([, a], [, b]) => b - a).slice(0, most)
  const lines = sorted.map(([name, micros]) => {
    const share = `${((micros / total) * 100).toFixed(1)} %`
    const each = profile.operations ? `${(micros / profile.operations).toFixed(2)} us each` : ''
    return `${share.padStart(8)} ${each.padStart(14)}  ${name}`
  })
  process.stdout.write(`${title}\n${lines.join('\n')}\n\n`)
}

/** Microseconds by label. A sample stands for the time until the next one. */
function selfTimes(label: Label): Map<string, number> {
  const labels = new Map(profile.nodes.map(({ id, callFrame }) => [id, label(callFrame)]))
  const times = new Map<string, number>()
  const { samples = [], timeDeltas = [] } = profile
  for (const [index, id] of samples.entries()) {
    const name = labels.get(id)!
    times.set(name, (times.get(name) ?? 0) + (timeDeltas[index + 1] ?? 0))
  }
  return times
}

function functionOf({ functionName, url, lineNumber }: Profiler.ProfileNode['callFrame']): string {
  const name = functionName || '(anonymous)'
  return url === '' ? name : `${name}  ${shorten(url)}:${lineNumber + 1}`
}

function packageOf({ functionName, url }: Profiler.ProfileNode['callFrame']): string {
  if (url === '') return functionName.startsWith('(') ? functionName : '(native)'
  if (url.startsWith('node:')) return 'node'
  return /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(shorten(url))?.[1] ?? shorten(url).replace(/\/[^/]*$/, '')
}

/** A package's file from its name on, our own from its folder on. */
function shorten(url: string): string {
  return /(?:node_modules|dist|build)\/(?!.*node_modules\/).*$/.exec(url)?.[0] ?? url
}
