/** Connection strings at random: mostly near misses, made of the pieces that matter to the two grammars. */

/** Numbers from 0 up to 1, the same ones for the same seed. */
export type Random = () => number

/** A small generator (mulberry32); good enough to choose pieces with. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const PIECES = [
  'a', 'b', ' ', '  ', '\t', '\n', '\v', '\f', '\r', "'", "''", '\\', '\\\\', "\\'", '=', '@', ':', '/', '?', '&',
  ',', '[', ']', '%', '%20', '%41', '%00', '%zz', '%2', '%c3%a9', '%ff', '%25', '%40', 'é', '😀', '\u00a0', '\u2028',
  '::1', '[::1]', '1', 'true', 'localhost', '5432', 'x=y', '#', ';', '+', 'postgres://', 'postgresql://',
] // prettier-ignore

const NOT_KEYWORDS = ['requiressl', 'ssl', 'foo', 'Host', '', '__proto__', 'constructor', 'database']
const LOGINS = ['', 'u@', 'u:p@', ':p@', 'u:@', '%40:%41@', 'u%20:@', 'u:p:q@', ':@', '@', 'u:p%@', 'u@v@']
const HOSTS = ['', 'h', '[::1]', '[]', '[x', '%2Ftmp', '[::1]x', 'h%', 'h%2Ci', '127.0.0.1']
const PORTS = ['', ':1', ':', ':x', ':1:2', ':%31']
const PATHS = ['', '/', '/db', '/d%20b', '/d b ', '/d@b', '/d/b', '/%']
const QUERIES = [
  '', '?', '?x', '?user=a', '?user= a &', '?ssl=true', '?ssl=false&', '?port=1&host=b', '?a=b=c', '?user=%', '&',
  '?sslmode=a b', '?user=a&&', '?%75ser=q', '?user', '?=', '?requiressl=1', '?requiressl=', '?user=a&user=b', '?#',
] // prettier-ignore

/** Makes strings of four kinds; `keywords` are those that may occur as the name of a parameter. */
export class ConninfoMaker {
  readonly #random: Random
  readonly #names: readonly string[]

  constructor(random: Random, keywords: Iterable<string>) {
    this.#random = random
    this.#names = [...keywords, ...NOT_KEYWORDS]
  }

  /** The next string; it has no zero byte, where C's strings end. */
  next(): string {
    return this.#pick([
      () => this.#soup(''),
      () => this.#soup('postgres://'),
      () => this.#pairs(),
      () => this.#uri(),
    ])()
  }

  /** One of several. */
  #pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.#random() * items.length)]!
  }

  /** Up to `most` of what `make` makes. */
  #several(most: number, make: () => string): string[] {
    return Array.from({ length: Math.floor(this.#random() * (most + 1)) }, make)
  }

  #soup(start: string): string {
    return (
      start +
      this.#several(12, () => (this.#random() < 0.15 ? this.#pick(this.#names) : this.#pick(PIECES))).join('')
    )
  }

  #pairs(): string {
    const space = () => this.#pick(['', '', ' ', '\t', ' \n'])
    const pair = () =>
      this.#pick(this.#names) + space() + this.#pick(['=', '=', '=', '=', '']) + space() + this.#value()
    return this.#several(4, pair).join(this.#pick([' ', '\n', '']))
  }

  #value(): string {
    const text = this.#several(3, () => this.#pick(PIECES)).join('')
    return this.#random() < 0.5 ? text : `'${text}${this.#random() < 0.9 ? "'" : ''}`
  }

  #uri(): string {
    const hosts = this.#several(3, () => this.#pick(HOSTS) + this.#pick(PORTS)).join(',')
    const parameter = () =>
      `${this.#pick(this.#names)}=${this.#several(2, () => this.#pick(PIECES)).join('')}`
    const query = this.#random() < 0.7 ? this.#pick(QUERIES) : `?${this.#several(3, parameter).join('&')}`
    return (
      this.#pick(['postgres://', 'postgresql://']) + this.#pick(LOGINS) + hosts + this.#pick(PATHS) + query
    )
  }
}
