/** Says where each item is drawn: in which lane, and in which row of it. */
import { strandsOf, type Piece, type Strand } from './pieces.js'
import type { Item } from './items.js'

export interface Lane {
  readonly kind: 'connection' | 'label' | 'tasks' | 'one-shots'
  readonly name: string
  /** What is in each row, in order of time; of two that begin together, the outer one first. */
  readonly rows: readonly (readonly Piece[])[]
}

/** What lies in a lane before it has rows. */
interface Group {
  readonly kind: Lane['kind']
  readonly name: string
  readonly items: Item[]
}

/** The connection's lane is the first; then come the labels as they appear, the others, and the one-shots. */
const ORDER: readonly Lane['kind'][] = ['connection', 'label', 'tasks', 'one-shots']

/** @param items in the order in which they began @param now where what goes on ends for the time being */
export function layOut(items: readonly Item[], now: number): Lane[] {
  const byId = new Map(items.map((item) => [item.id, item]))
  const groups = groupBy(items, ({ place, label }) => (place === 'turn' ? `turn ${label ?? ''}` : place))
  const lanes = groups.map((members) => toGroup(members)).sort(byKind)
  return lanes.map(({ kind, name, items: members }) => {
    const tasks = groupBy(members, ({ task, id }) => task ?? -id)
    const strands = tasks.flatMap((task) => strandsOf(task, byId, now))
    return { kind, name, rows: kind === 'connection' ? [alongside(strands)] : pack(strands) }
  })
}

function toGroup(items: Item[]): Group {
  const { place, label } = items[0]!
  if (place === 'connection') return { kind: 'connection', name: 'the connection', items }
  if (place === 'one-shot') return { kind: 'one-shots', name: 'one-shots and batches', items }
  return label === null || label === ''
    ? { kind: 'tasks', name: 'tasks without a label', items }
    : { kind: 'label', name: label, items }
}

function byKind(a: Group, b: Group): number {
  return ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind)
}

/** What has the same key, in the order in which the keys appear. */
function groupBy<T, K>(all: readonly T[], keyOf: (one: T) => K): T[][] {
  const groups = new Map<K, T[]>()
  for (const one of all) {
    const key = keyOf(one)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [one])
    else group.push(one)
  }
  return [...groups.values()]
}

/** There is one connection, so that no two of its items are in each other's way but for what happens at a moment. */
function alongside(strands: readonly Strand[]): Piece[] {
  return strands.flatMap(({ pieces }) => pieces).sort((a, b) => a.start - b.start)
}

/** As few rows as do not overlap: each strand goes to the first row that is free when it begins. */
function pack(strands: Strand[]): Piece[][] {
  const rows: Piece[][] = []
  const freeFrom: number[] = []
  for (const { pieces, start, end } of strands.sort((a, b) => a.start - b.start)) {
    let row = freeFrom.findIndex((free) => free <= start)
    if (row < 0) row = rows.push([]) - 1
    rows[row]!.push(...pieces)
    freeFrom[row] = end
  }
  return rows
}
