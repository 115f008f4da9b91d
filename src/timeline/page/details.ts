/** Shows all that is known of the selected item. */
import { duration } from '../durations.js'
import { make } from './elements.js'
import type { Model, Shown } from './model.js'

type Line = readonly [name: string, value: string]

export function showDetails(panel: HTMLElement, model: Model, item: Shown): void {
  const list = make('dl')
  for (const [name, value] of linesOf(model, item)) {
    if (value !== '') list.append(make('div', make('dt', name), make('dd', value)))
  }
  const isText = item.kind === 'statement' || item.kind === 'batch'
  const heading = make('h2', isText ? item.kind : item.title)
  panel.replaceChildren(heading, ...(isText ? [make('pre', item.title)] : []), list)
}

function linesOf({ data }: Model, item: Shown): Line[] {
  const { label, start, end, sent, goesOn, mark, failed, facts } = item
  const isMoment = item.kind === 'event'
  return [
    ['label', label ?? ''],
    ['at', duration(Math.max(0, start))],
    ['took', isMoment ? '' : `${duration(end - start)}${goesOn ? ' so far' : ''}`],
    ['in line for', sent === null ? '' : duration(sent - item.start)],
    ...Object.entries(facts).map(([name, value]): Line => [name, value === null ? '' : String(value)]),
    ['error', failed?.name ?? ''],
    ['code', failed?.code ?? ''],
    ['message', failed?.message ?? ''],
    ['mark', mark === null ? '' : data.signs[mark].words],
  ]
}

/** An item in one line, for who cannot see the picture. */
export function describe({ kind, title, label, start, end, failed }: Shown): string {
  const parts = [
    kind === 'event' ? title : `${kind} ${title}`,
    label === null ? '' : `label ${label}`,
    `at ${duration(Math.max(0, start))}`,
    kind === 'event' ? '' : `took ${duration(end - start)}`,
    failed === null ? '' : `failed: ${failed.message}`,
  ]
  return parts.filter((part) => part !== '').join(', ')
}
