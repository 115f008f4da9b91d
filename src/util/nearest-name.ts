/** Which known name somebody meant who wrote another: for messages about options and parameters. */

/** From this length on, a name that only lacks or adds an end (`acquireTimeout`) is taken for the whole one. */
const TELLING_LENGTH = 4

/**
 * The known name that is most like the given one: the same but for case, hyphens and underscores, the same with an
 * end more or less, or with up to a third of its letters mistyped. Of equally near ones, the first.
 *
 * @returns undefined when none is near enough to be what was meant
 */
export function nearestName(given: string, known: Iterable<string>): string | undefined {
  const wanted = plain(given)
  let nearest: string | undefined
  let least = Infinity
  for (const name of known) {
    const distance = distanceBetween(wanted, plain(name))
    if (distance >= least) continue
    nearest = name
    least = distance
  }
  return nearest
}

/** The end of a message that names an unknown one: `; did you mean "host"?`, or nothing. */
export function didYouMean(given: string, known: Iterable<string>): string {
  const nearest = nearestName(given, known)
  return nearest === undefined ? '' : `; did you mean "${nearest}"?`
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[-_]/g, '')
}

/** How far apart two names are; Infinity when too far for a slip of the finger. */
function distanceBetween(one: string, other: string): number {
  const [short, long] = one.length <= other.length ? [one, other] : [other, one]
  const limit = Math.floor(long.length / 3)
  const edits = long.length - short.length > limit ? Infinity : countEdits(short, long)
  if (edits <= limit) return edits
  // Behind every mistyped one, and the shorter the end that differs, the nearer.
  const isBeginning = short.length >= TELLING_LENGTH && long.startsWith(short)
  return isBeginning ? limit + long.length - short.length : Infinity
}

/**
 * How many letters have to be put in, left out, changed or swapped with the next one.
 *
 * @see https://en.wikipedia.org/wiki/Damerau–Levenshtein_distance, "optimal string alignment distance"
 */
function countEdits(one: string, other: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: other.length + 1 }, (_, index) => index)
  for (let row = 1; row <= one.length; row++) {
    const current = [row]
    for (let column = 1; column <= other.length; column++) {
      const same = one[row - 1] === other[column - 1]
      const swapped = one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1]
      current[column] = Math.min(
        last[column]! + 1,
        current[column - 1]! + 1,
        last[column - 1]! + (same ? 0 : 1),
        row > 1 && column > 1 && swapped ? beforeLast[column - 2]! + 1 : Infinity,
      )
    }
    beforeLast = last
    last = current
  }
  return last[other.length]!
}
