/** Times and counts as people read them: on the page, and in what is written into it. */

/** A time in milliseconds, with three digits or so and the unit that suits it. */
export function duration(millis: number): string {
  const size = Math.abs(millis)
  if (size === 0) return '0'
  if (size < 0.1) return `${(millis * 1_000).toFixed(0)} µs`
  if (size < 10) return `${millis.toFixed(2)} ms`
  if (size < 100) return `${millis.toFixed(1)} ms`
  if (size < 1_000) return `${millis.toFixed(0)} ms`
  return size < 60_000 ? `${(millis / 1_000).toFixed(2)} s` : `${(millis / 60_000).toFixed(1)} min`
}

export function number(value: number): string {
  return value.toLocaleString('en-US')
}

export function count(value: number, one: string, many = `${one}s`): string {
  return `${number(value)} ${value === 1 ? one : many}`
}
