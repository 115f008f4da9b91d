/** Reads what a timeline has made: the data of its page, and its trace events. */
import assert from 'node:assert/strict'
import type { Timeline, TraceEvent } from 'pg-managed-connection/timeline'

/** As much of an item of the page's as tests look at. */
export interface PageItem {
  readonly id: number
  readonly kind: string
  readonly title: string
  readonly label: string | null
  readonly start: number
  readonly end: number
  readonly goesOn: boolean
  readonly sent: number | null
  readonly mark: string | null
  readonly failed: { readonly name: string; readonly code: string | null; readonly message: string } | null
  readonly facts: Readonly<Record<string, unknown>>
}

export interface PageLane {
  readonly name: string
  readonly kind: string
  readonly rows: readonly (readonly (readonly [number, number, number, number])[])[]
}

interface Written {
  readonly texts: readonly string[]
  readonly items: readonly (Omit<PageItem, 'title' | 'label'> & {
    readonly title: number
    readonly label: number | null
  })[]
  readonly lanes: readonly PageLane[]
}

/** What the page is given to draw. */
export function readPage(html: string): { items: PageItem[]; lanes: readonly PageLane[] } {
  const [, json] =
    /<script type="application\/json" id="data">(.*?)<\/script>/s.exec(html) ?? assert.fail('no data')
  const { texts, items, lanes } = JSON.parse(json!) as Written
  const read = items.map((item) => ({
    ...item,
    title: texts[item.title]!,
    label: item.label === null ? null : texts[item.label]!,
  }))
  return { items: read.sort((a, b) => a.id - b.id), lanes }
}

export function itemsOf(timeline: Timeline): PageItem[] {
  return readPage(timeline.toHTML()).items
}

/** What kinds of items there are, in the order in which they began, and the mark of each that has one. */
export function storyOf(timeline: Timeline): string[] {
  return itemsOf(timeline).map(({ kind, mark }) => (mark === null ? kind : `${kind}: ${mark}`))
}

/** What lasts, by its thread, in the order of the viewer: of two that begin together, the longer one is the outer. */
export function threadsOf(timeline: Timeline): TraceEvent[][] {
  const { traceEvents } = timeline.toTraceEvents()
  const lasting = traceEvents.filter(({ ph }) => ph === 'X')
  const tids = [...new Set(lasting.map(({ tid }) => tid))]
  return tids.map((tid) =>
    lasting.filter((event) => event.tid === tid).sort((a, b) => a.ts - b.ts || b.dur! - a.dur!),
  )
}

/** Each lies beside another one or inside of it: a viewer can draw nothing else. */
export function assertNested(timeline: Timeline): void {
  for (const events of threadsOf(timeline)) {
    const around: number[] = []
    for (const { ts, dur, name } of events) {
      const end = ts + dur!
      while (around.length > 0 && around.at(-1)! <= ts) around.pop()
      assert.ok(around.length === 0 || end <= around.at(-1)!, `"${name}" outlives what it is drawn in`)
      around.push(end)
    }
  }
}
