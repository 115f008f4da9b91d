/** What the page's script is given to draw. */
import { SIGNS, type Mark, type MarkSign } from './marks.js'
import type { Facts, Failed, Kind, Period } from './items.js'
import type { Lane } from './layout.js'
import type { Piece } from './pieces.js'

export interface PageItem {
  readonly id: number
  readonly kind: Kind
  /** Its number in the texts. */
  readonly title: number
  readonly label: number | null
  readonly start: number
  readonly end: number
  readonly goesOn: boolean
  /** Where its time in line ends, and its work begins. */
  readonly sent: number | null
  readonly mark: Mark | null
  readonly failed: Failed | null
  readonly facts: Facts
}

/** The number of the item, where it is drawn from and to, and whether it is what is left over after its turn. */
export type PagePiece = readonly [item: number, start: number, end: number, isTail: 0 | 1]

export interface PageLane {
  readonly name: string
  readonly kind: Lane['kind']
  readonly rows: readonly (readonly PagePiece[])[]
}

export interface PageData {
  /** Each text once: many statements have the same. */
  readonly texts: readonly string[]
  readonly items: readonly PageItem[]
  readonly lanes: readonly PageLane[]
  readonly period: Period
  readonly signs: Readonly<Record<Mark, MarkSign>>
}

/** A tenth of a microsecond is more than the clock knows. */
const DIGITS = 4

const rounded = (millis: number): number => Number(millis.toFixed(DIGITS))

export function toPageData(lanes: readonly Lane[], { from, to }: Period): PageData {
  const texts = new Texts()
  const numbers = new Map<number, number>()
  const items: PageItem[] = []
  const toPiece = (piece: Piece): PagePiece => {
    const { id } = piece.item
    const number = numbers.get(id) ?? items.push(toPageItem(piece, texts, to)) - 1
    numbers.set(id, number)
    return [number, rounded(piece.start), rounded(piece.end), piece.isTail ? 1 : 0]
  }
  const drawn = lanes.map(({ name, kind, rows }) => ({
    name,
    kind,
    rows: rows.map((pieces) => pieces.map(toPiece)),
  }))
  const period = { from: rounded(from), to: rounded(to) }
  return { texts: texts.all, items, lanes: drawn, period, signs: SIGNS }
}

function toPageItem({ item }: Piece, texts: Texts, now: number): PageItem {
  const { id, kind, title, label, start, end, sent, mark, failed, facts } = item
  return {
    id,
    kind,
    title: texts.numberOf(title),
    label: label === null ? null : texts.numberOf(label),
    start: rounded(start),
    end: rounded(end ?? now),
    goesOn: end === null,
    sent: sent === null ? null : rounded(sent),
    mark,
    failed,
    facts,
  }
}

class Texts {
  readonly all: string[] = []
  readonly #numbers = new Map<string, number>()

  numberOf(text: string): number {
    const number = this.#numbers.get(text) ?? this.all.push(text) - 1
    this.#numbers.set(text, number)
    return number
  }
}
