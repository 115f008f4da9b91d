/** Who chooses what happens next, and how often each schedule has been seen. */
import { Random } from '../random.js'

/** One thing that may happen next. */
export interface Choice {
  /** Names it in the trace. */
  readonly name: string
  /** How likely it is, compared with the others. */
  readonly weight: number
  happen(): void
}

export interface Chooser {
  /** Picks one; there is at least one. */
  pick(choices: readonly Choice[]): Choice
}

/** Picks by chance; the same seed picks the same. */
export class RandomChooser implements Chooser {
  readonly #random: Random

  constructor(seed: number) {
    this.#random = new Random(seed)
  }

  pick(choices: readonly Choice[]): Choice {
    let rest = this.#random.next() * choices.reduce((sum, { weight }) => sum + weight, 0)
    for (const choice of choices) {
      rest -= choice.weight
      if (rest < 0) return choice
    }
    return choices.at(-1)!
  }
}

/**
 * Goes through the schedules of one program in the order of their distance from the straight one, in which always
 * the first choice is taken: first those that leave it once, at every place and in every way, then those that leave
 * it twice, and so on.
 */
export class SystematicChooser implements Chooser {
  readonly #ahead: number[][] = []
  readonly #most: number
  #prefix: readonly number[] = []
  #taken: number[] = []

  /** @param most how many schedules to plan ahead at most: each brings many that are further away */
  constructor(most: number) {
    this.#most = most
  }

  pick(choices: readonly Choice[]): Choice {
    const at = this.#taken.length
    const picked = this.#prefix[at] ?? 0
    if (at >= this.#prefix.length) this.#plan(choices.length)
    this.#taken.push(picked)
    return choices[picked]!
  }

  #plan(choices: number): void {
    for (let other = 1; other < choices && this.#ahead.length < this.#most; other++)
      this.#ahead.push([...this.#taken, other])
  }

  /** Prepares the next run; false when all have been seen. */
  advance(): boolean {
    const next = this.#ahead.shift()
    this.#taken = []
    this.#prefix = next ?? []
    return next !== undefined
  }
}

/** A hash of what happened, 52 bits of it (two of FNV-1a's kind, side by side). */
export class TraceHash {
  #low = 0x811c9dc5
  #high = 0x01234567

  add(text: string): void {
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      this.#low = Math.imul(this.#low ^ code, 0x01000193) >>> 0
      this.#high = Math.imul(this.#high ^ code, 0x85ebca6b) >>> 0
      this.#high ^= this.#high >>> 13
    }
  }

  get value(): number {
    return (this.#high & 0xfffff) * 2 ** 32 + this.#low
  }
}
