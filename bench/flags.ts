/** The command line. */
import { parseArgs } from 'node:util'
import type { Settings } from './results.js'

export interface Flags {
  readonly settings: Settings
  /** Parts of the ids or titles of the rows that are wanted; none means all. */
  readonly only: readonly string[]
  readonly profile: boolean
  /** What the files are called that results are written to; null is the usual name. */
  readonly name: string | null
}

const FULL: Settings = { mode: 'full', rounds: 9, sampleMillis: 800, warmUpMillis: 1_000 }
const QUICK: Settings = { mode: 'quick', rounds: 3, sampleMillis: 120, warmUpMillis: 250 }

export function readFlags(args?: string[]): Flags {
  const { values } = parseArgs({
    ...(args && { args }),
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
      rounds: { type: 'string' },
      profile: { type: 'boolean', default: false },
      name: { type: 'string' },
    },
  })
  const preset = values.quick ? QUICK : FULL
  const rounds = values.rounds === undefined ? preset.rounds : Number(values.rounds)
  if (!Number.isInteger(rounds) || rounds < 1) {
    throw new RangeError(`--rounds takes a whole number from 1, but was given ${values.rounds}`)
  }
  const { only, profile, name = null } = values
  if (name !== null && !/^[a-z]+$/.test(name)) {
    throw new RangeError(`--name takes small letters, but was given ${name}`)
  }
  return { settings: { ...preset, rounds }, only, profile, name }
}

/** Whether something with this id and title was asked for. */
export function isWanted({ only }: Flags, id: string, title: string): boolean {
  return only.length === 0 || only.some((part) => `${id} ${title}`.toLowerCase().includes(part.toLowerCase()))
}
