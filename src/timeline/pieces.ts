/**
 * Cuts items to pieces that lie inside of each other. A transaction outlives its turn, because the next holder begins
 * once COMMIT was sent, and a statement may outlive a turn that was taken back: what is left over is a piece of its own.
 */
import type { Item } from './items.js'

export interface Piece {
  readonly item: Item
  readonly start: number
  readonly end: number
  /** What it is part of was over already. */
  readonly isTail: boolean
}

/** What is left over for less than this, in milliseconds, is over at the same time. */
const NEGLIGIBLE_MILLIS = 0.1

/** Pieces that lie side by side or inside of each other, so that they can be drawn in one row. */
export interface Strand {
  readonly pieces: readonly Piece[]
  readonly start: number
  readonly end: number
}

/** The strands of one task: one, and more where it has sent statements side by side. */
export function strandsOf(items: readonly Item[], byId: ReadonlyMap<number, Item>, now: number): Strand[] {
  const strands: OpenStrand[] = []
  const pieces = items.flatMap((item) => cut(item, byId, now))
  for (const piece of pieces.sort(inOrder)) {
    let strand = strands.find((one) => one.takes(piece, byId))
    if (strand === undefined) strands.push((strand = new OpenStrand()))
    strand.add(piece)
  }
  return strands
}

function inOrder(a: Piece, b: Piece): number {
  return a.start - b.start || a.item.id - b.item.id
}

function cut(item: Item, byId: ReadonlyMap<number, Item>, now: number): Piece[] {
  const { start } = item
  const end = item.end ?? now
  const limit = Math.min(...ancestorsOf(item, byId).map((one) => one.end ?? now))
  if (limit >= end) return [{ item, start, end, isTail: false }]
  const middle = Math.max(start, limit)
  const body: Piece = { item, start, end: middle, isTail: false }
  if (end - middle < NEGLIGIBLE_MILLIS) return [body]
  return [body, { item, start: middle, end, isTail: true }]
}

function ancestorsOf(item: Item, byId: ReadonlyMap<number, Item>): Item[] {
  const parent = item.parent === null ? undefined : byId.get(item.parent)
  return parent === undefined ? [] : [parent, ...ancestorsOf(parent, byId)]
}

class OpenStrand implements Strand {
  readonly pieces: Piece[] = []
  /** Those that are not over where the next one begins, the innermost last. */
  readonly #open: Piece[] = []
  end = 0

  get start(): number {
    return this.pieces[0]!.start
  }

  takes(piece: Piece, byId: ReadonlyMap<number, Item>): boolean {
    while (this.#open.length > 0 && this.#open.at(-1)!.end <= piece.start) this.#open.pop()
    const around = this.#open.at(-1)
    if (around === undefined) return true
    return !piece.isTail && piece.end <= around.end && ancestorsOf(piece.item, byId).includes(around.item)
  }

  add(piece: Piece): void {
    this.pieces.push(piece)
    this.#open.push(piece)
    this.end = Math.max(this.end, piece.end)
  }
}
