/** Puts the page together: figures and tables as they are without a script, and the picture's data and script. */
import { createHash } from 'node:crypto'
import { count, duration } from './durations.js'
import { escapeJson, escapeText } from './escape.js'
import { SIGNS, type Mark } from './marks.js'
import { SCRIPT, STYLE } from './page-source.js'
import type { Item } from './items.js'
import type { PageData } from './page-data.js'
import type { LabelFigures, Summary } from './summary.js'

/** What the page says of the recording as a whole. */
export interface Heading {
  /** Names the manager. */
  readonly name: string
  /** When it began, on the wall clock. */
  readonly startedAt: Date
  readonly dropped: number
}

export function toPage(heading: Heading, summary: Summary, data: PageData): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy()}">
<meta name="color-scheme" content="light dark">
<title>Timeline of ${escapeText(heading.name)}</title>
<style>${STYLE}</style>
</head>
<body>
${header(heading)}
<main>
${figures(summary)}
${chart(data)}
${busiest(summary)}
${slowest(summary)}
${table()}
</main>
<script type="application/json" id="data">${escapeJson(data)}</script>
<script>${SCRIPT}</script>
</body>
</html>
`
}

/** Nothing is loaded from anywhere, and no script runs but the page's own, should a text ever become markup. */
function policy(): string {
  const hash = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`
  return `default-src 'none'; script-src ${hash(SCRIPT)}; style-src ${hash(STYLE)}; base-uri 'none'; form-action 'none'`
}

function header({ name, startedAt, dropped }: Heading): string {
  const older = dropped === 0 ? '' : ` ${count(dropped, 'older item was', 'older items were')} dropped.`
  const since = startedAt.toISOString()
  return `<header>
<h1>Timeline</h1>
<p><code>${escapeText(name)}</code>, from <time datetime="${since}">${since.replace('T', ' ')}</time>.${older}</p>
</header>`
}

function figures({ figures: all }: Summary): string {
  const each = all.map(
    ({ name, value, note }) =>
      `<div><dt>${escapeText(name)}</dt><dd>${escapeText(value)}<small>${escapeText(note)}</small></dd></div>`,
  )
  return `<dl class="figures">${each.join('')}</dl>`
}

function chart(data: PageData): string {
  return `<section aria-label="Timeline">
<div class="tools">
<label class="search"><span>Search</span> <input id="search" type="search" autocomplete="off" spellcheck="false"
 placeholder="a label, a text, an error"></label>
<output id="found" for="search"></output>
<span class="buttons">
<button type="button" id="zoom-in" title="zoom in (+)" aria-label="zoom in">+</button>
<button type="button" id="zoom-out" title="zoom out (-)" aria-label="zoom out">−</button>
<button type="button" id="zoom-all" title="show everything (0)">all</button>
</span>
</div>
<div class="board">
<div id="chart" tabindex="0" role="application" aria-label="Lanes of tasks over time" aria-describedby="keys">
<div id="extent"><canvas></canvas></div>
</div>
<aside id="details" aria-live="polite" aria-label="Details"><p>Click on something, or press <kbd>n</kbd> in the
picture.</p></aside>
</div>
<p id="keys" class="hint">Zoom with the wheel or <kbd>+</kbd> <kbd>-</kbd> <kbd>0</kbd>; move by dragging or with the
arrow keys; <kbd>n</kbd> and <kbd>p</kbd> go to the next and previous item, <kbd>m</kbd> to the next mark;
<kbd>/</kbd> searches.</p>
${legend(data)}
</section>`
}

/** The kinds of boxes, in the words of the legend. */
const BOXES: readonly (readonly [style: string, words: string])[] = [
  ['wait', 'waiting in line'],
  ['hold', 'holding the connection'],
  ['transaction', 'in a transaction'],
  ['statement', 'a statement'],
  ['tail', 'COMMIT is on its way, and others may go on'],
  ['opening', 'the connection is being opened'],
  ['connection', 'it is open'],
]

function legend({ items }: PageData): string {
  const boxes = BOXES.map(([style, words]) => `<li><span class="box ${style}"></span>${words}</li>`)
  const marks = (Object.keys(SIGNS) as Mark[]).map((mark) => {
    const { path, words, colour } = SIGNS[mark]
    const many = items.filter((item) => item.mark === mark).length
    const sign = `<svg viewBox="0 0 16 16" class="${colour}" aria-hidden="true"><path d="${path}"/></svg>`
    return `<li${many === 0 ? ' class="none"' : ''}>${sign}${words} <small>(${many})</small></li>`
  })
  return `<ul class="legend" aria-label="Legend">${boxes.join('')}${marks.join('')}</ul>`
}

function busiest({ labels }: Summary): string {
  if (labels.length === 0) return ''
  const row = ({ label, turns, waited, held, statements }: LabelFigures): string =>
    `<tr><th scope="row">${label === null ? '<i>no label</i>' : escapeText(label)}</th><td>${turns}</td>` +
    `<td>${duration(waited)}</td><td>${duration(held)}</td><td>${statements}</td></tr>`
  return `<section class="half"><h2>Busiest labels</h2><div class="wide"><table>
<thead><tr><th scope="col">label</th><th scope="col">turns</th><th scope="col">waited</th><th scope="col">held</th>
<th scope="col">statements</th></tr></thead><tbody>${labels.map(row).join('')}</tbody></table></div></section>`
}

function slowest({ slowest: all }: Summary): string {
  if (all.length === 0) return ''
  const row = ({ item, millis }: { item: Item; millis: number }): string =>
    `<tr><td>${duration(millis)}</td><td><button type="button" class="link" data-item="${item.id}">` +
    `<code>${escapeText(item.title.slice(0, 200))}</code></button></td></tr>`
  return `<section class="half"><h2>Slowest statements</h2><div class="wide"><table>
<thead><tr><th scope="col">took</th><th scope="col">text</th></tr></thead>
<tbody>${all.map(row).join('')}</tbody></table></div></section>`
}

/** The script fills it, a page at a time. */
function table(): string {
  return `<details id="table"><summary>Everything as a table</summary>
<p class="tools"><button type="button" id="earlier">earlier</button> <output id="range"></output>
<button type="button" id="later">later</button></p>
<div class="wide"><table><thead><tr><th scope="col">at</th><th scope="col">took</th><th scope="col">what</th>
<th scope="col">label</th><th scope="col">text</th><th scope="col">mark</th></tr></thead><tbody></tbody></table></div>
</details>`
}
