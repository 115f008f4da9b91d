/** What is under a finger. */
import { markedAt, type Model, type Shown } from './model.js'
import type { Shape } from './shape.js'
import type { View } from './view.js'

/** A sign, or a box that is hardly to be seen, is hit from so many pixels away. */
const REACH = 8

export interface Place {
  readonly x: number
  /** From the top of the whole picture, seen or not. */
  readonly y: number
  readonly width: number
}

/** The innermost of what is there, a sign before a box; null where nothing is. */
export function hit(model: Model, shape: Shape, view: View, { x, y, width }: Place): Shown | null {
  const row = model.rows[shape.rowAt(y)]
  if (row === undefined) return null
  const signed = row.pieces.map(([number]) => model.items[number]!).filter(({ mark }) => mark !== null)
  const away = (item: Shown): number => Math.abs(view.toX(markedAt(item), width) - x)
  const sign = nearest(signed, away, REACH)
  if (sign !== null) return sign
  const boxes = row.pieces.map(([number, start, end]) => {
    const left = view.toX(start, width) - x
    const right = x - view.toX(end, width)
    return { item: model.items[number]!, away: Math.max(left, right, 0) }
  })
  const inside = boxes.filter((box) => box.away === 0)
  // Later ones lie in earlier ones.
  const found = inside.at(-1) ?? nearest(boxes, (box) => box.away, REACH / 2)
  return found?.item ?? null
}

function nearest<T>(all: readonly T[], away: (one: T) => number, reach: number): T | null {
  let best: T | null = null
  let least = reach
  for (const one of all) {
    if (away(one) > least) continue
    best = one
    least = away(one)
  }
  return best
}
