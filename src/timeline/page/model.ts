/** What there is to draw, as the page's script handles it. */
import type { PageData, PageItem, PagePiece } from '../page-data.js'

/** An item with its texts, and where it is drawn. */
export interface Shown extends Omit<PageItem, 'title' | 'label'> {
  readonly title: string
  readonly label: string | null
  /** The row of its first piece, counted through all lanes. */
  row: number
  /** How deep it lies in others: a statement in a transaction in a turn. */
  readonly depth: number
  /** What a search looks through, in small letters. */
  readonly haystack: string
}

export interface Row {
  readonly lane: number
  readonly pieces: readonly PagePiece[]
}

export interface Model {
  readonly data: PageData
  /** In the order in which they began. */
  readonly inOrder: readonly Shown[]
  /** By their number in the pieces. */
  readonly items: readonly Shown[]
  readonly rows: readonly Row[]
}

const DEPTHS: Readonly<Record<PageItem['kind'], number>> = {
  ...{ opening: 0, connection: 0, event: 0 },
  ...{ wait: 0, hold: 0, transaction: 1, statement: 2, batch: 2 },
}

/** Reads what was written into the page. */
export function readModel(json: string): Model {
  const data = JSON.parse(json) as PageData
  const items = data.items.map((item) => toShown(item, data.texts))
  const rows = data.lanes.flatMap((lane, number) => lane.rows.map((pieces) => ({ lane: number, pieces })))
  rows.forEach(({ pieces }, row) => {
    for (const [number, , , isTail] of pieces) if (isTail === 0) items[number]!.row = row
  })
  return { data, items, rows, inOrder: [...items].sort((a, b) => a.start - b.start || a.id - b.id) }
}

function toShown(item: PageItem, texts: readonly string[]): Shown {
  const title = texts[item.title]!
  const label = item.label === null ? null : texts[item.label]!
  const failed = item.failed === null ? [] : [item.failed.name, item.failed.code, item.failed.message]
  const haystack = [item.kind, title, label, item.mark, ...failed].join('\n').toLowerCase()
  return { ...item, title, label, row: 0, depth: DEPTHS[item.kind], haystack }
}

/** Where a mark is drawn: at the end of what it marks, when it was known; of a new connection at its beginning. */
export function markedAt({ kind, start, end }: Pick<Shown, 'kind' | 'start' | 'end'>): number {
  return kind === 'connection' ? start : end
}
