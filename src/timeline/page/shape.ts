/** Where lanes and rows are, from top to bottom. */
import type { Model } from './model.js'

/** The time at the top. */
export const AXIS_HEIGHT = 26
const NAME_HEIGHT = 20
const LANE_GAP = 4

/** Rows are lower where there are so many that one could not see them together. */
const MANY_ROWS = 60
const ROW_HEIGHT = 20
const LOW_ROW_HEIGHT = 12

export interface LaneShape {
  readonly top: number
  readonly bottom: number
}

export class Shape {
  readonly rowHeight: number
  readonly lanes: readonly LaneShape[]
  /** How high it all is, the time at the top included. */
  readonly height: number
  readonly #tops: readonly number[]

  constructor({ data, rows }: Model) {
    this.rowHeight = rows.length > MANY_ROWS ? LOW_ROW_HEIGHT : ROW_HEIGHT
    const tops: number[] = []
    const lanes: LaneShape[] = []
    let top = AXIS_HEIGHT
    for (const lane of data.lanes) {
      const first = top + NAME_HEIGHT
      lane.rows.forEach((_, row) => tops.push(first + row * this.rowHeight))
      const bottom = first + lane.rows.length * this.rowHeight + LANE_GAP
      lanes.push({ top, bottom })
      top = bottom
    }
    this.lanes = lanes
    this.height = top
    this.#tops = tops
  }

  topOf(row: number): number {
    return this.#tops[row]!
  }

  /** The row at a height; -1 where there is none. */
  rowAt(y: number): number {
    return this.#tops.findIndex((top) => y >= top && y < top + this.rowHeight)
  }
}
