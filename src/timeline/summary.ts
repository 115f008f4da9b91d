/** The figures above the picture: how long was waited and held, by whom, and what took long. */
import { count, duration, number } from './durations.js'
import type { Item, Kind, Period } from './items.js'

/** How many labels, and how many statements, are listed. */
const MOST = 8

export interface Figure {
  readonly name: string
  readonly value: string
  readonly note: string
}

export interface LabelFigures {
  readonly label: string | null
  readonly turns: number
  readonly waited: number
  readonly held: number
  readonly statements: number
}

export interface Summary {
  readonly figures: readonly Figure[]
  /** Those that kept the connection busy longest, first. */
  readonly labels: readonly LabelFigures[]
  readonly slowest: readonly { readonly item: Item; readonly millis: number }[]
}

export function summarize(items: readonly Item[], period: Period): Summary {
  const of = (...kinds: Kind[]): Item[] => items.filter(({ kind }) => kinds.includes(kind))
  const statements = of('statement', 'batch')
  const slowest = statements.map((item) => ({ item, millis: workingTime(item, period) }))
  return {
    figures: [
      { name: 'recorded', value: duration(period.to - period.from), note: count(items.length, 'item') },
      waiting(of('wait'), period),
      holding(of('hold'), period),
      transactions(of('transaction')),
      statementFigure(statements, period),
      connections(of('opening', 'connection', 'event')),
    ],
    labels: labelFigures(items, period),
    slowest: slowest.sort((a, b) => b.millis - a.millis).slice(0, MOST),
  }
}

function lengthOf({ start, end }: Item, { from, to }: Period): number {
  return (end ?? to) - Math.max(from, start)
}

/** Without the time in line. */
function workingTime(item: Item, { to }: Period): number {
  return (item.end ?? to) - (item.sent ?? item.start)
}

function total(items: readonly Item[], period: Period): number {
  return items.reduce((sum, item) => sum + lengthOf(item, period), 0)
}

function waiting(waits: readonly Item[], period: Period): Figure {
  const longest = waits.reduce((most, item) => Math.max(most, lengthOf(item, period)), 0)
  return {
    name: 'waited',
    value: duration(total(waits, period)),
    note: `${count(waits.length, 'time')}, the longest ${duration(longest)}`,
  }
}

function holding(holds: readonly Item[], period: Period): Figure {
  const held = total(holds, period)
  const recorded = period.to - period.from
  const share = recorded > 0 ? Math.round((held / recorded) * 100) : 0
  return {
    name: 'held',
    value: duration(held),
    note: `${count(holds.length, 'turn')}, ${share} % of the time`,
  }
}

function transactions(all: readonly Item[]): Figure {
  const outcomes = ['committed', 'rolled back', 'unknown']
  const counted = outcomes.map((outcome) => ({
    outcome,
    count: all.filter(({ facts }) => facts['outcome'] === outcome).length,
  }))
  const told = counted.filter((one) => one.count > 0).map((one) => `${number(one.count)} ${one.outcome}`)
  return { name: 'transactions', value: number(all.length), note: told.join(', ') }
}

function statementFigure(all: readonly Item[], period: Period): Figure {
  const oneShots = all.filter(({ place }) => place === 'one-shot').length
  const failed = all.filter((item) => item.failed !== null).length
  const time = all.reduce((sum, item) => sum + workingTime(item, period), 0)
  const note = `${duration(time)}, ${count(oneShots, 'one-shot')}${failed > 0 ? `, ${number(failed)} failed` : ''}`
  return { name: 'statements', value: number(all.length), note }
}

function connections(all: readonly Item[]): Figure {
  const opened = all.filter(({ kind, failed }) => kind === 'opening' && failed === null).length
  const lost = all.filter(({ kind, mark }) => kind === 'event' && mark === 'lost').length
  return { name: 'connection', value: `opened ${opened} ×`, note: `lost ${lost} ×` }
}

function labelFigures(items: readonly Item[], period: Period): LabelFigures[] {
  const labels = new Map<string | null, { -readonly [K in keyof LabelFigures]: LabelFigures[K] }>()
  for (const item of items) {
    if (item.place === 'connection') continue
    const { label } = item
    const figures = labels.get(label) ?? { label, turns: 0, waited: 0, held: 0, statements: 0 }
    labels.set(label, figures)
    if (item.kind === 'wait') figures.waited += lengthOf(item, period)
    if (item.kind === 'statement' || item.kind === 'batch') figures.statements++
    if (item.kind === 'hold') {
      figures.turns++
      figures.held += lengthOf(item, period)
    }
  }
  const sorted = [...labels.values()].sort((a, b) => b.held - a.held || b.statements - a.statements)
  return sorted.slice(0, MOST)
}
