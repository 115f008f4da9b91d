/** Draws the part of the recording that is seen. */
import { ticks } from './axis.js'
import { markedAt, type Model, type Shown } from './model.js'
import { AXIS_HEIGHT, type Shape } from './shape.js'
import type { PagePiece } from '../page-data.js'
import type { Colours, ColourName } from './colours.js'
import type { View } from './view.js'

export interface Picture {
  readonly model: Model
  readonly shape: Shape
  readonly view: View
  readonly colours: Colours
  readonly width: number
  readonly height: number
  /** How far it is scrolled down. */
  readonly top: number
  readonly selected: Shown | null
  /** What a search has found; null where nobody searches. */
  readonly found: ReadonlySet<Shown> | null
}

const FONT = '12px system-ui, sans-serif'
/** Where a row is lower than this, in pixels. */
const ROW_OF_TEXT = 12
const SMALL_FONT = '9px system-ui, sans-serif'
/** Pixels between two lines of time. */
const TICK_WIDTH = 90
/** Something shorter is drawn as long as this, in pixels, or it would not be seen. */
const SHORTEST = 1.5
/** A box has to be as wide as this before there is text in it. */
const TEXT_WIDTH = 34
const SIGN_SIZE = 14
/** How much is seen of what a search has not found. */
const DIMMED = 0.3

type Brush = CanvasRenderingContext2D

export function draw(brush: Brush, picture: Picture): void {
  const { width, height, colours } = picture
  brush.fillStyle = colours.paper
  brush.fillRect(0, 0, width, height)
  brush.font = FONT
  brush.textBaseline = 'middle'
  drawBands(brush, picture)
  drawTimes(brush, picture)
  drawRows(brush, picture)
  drawSigns(brush, picture)
  drawNames(brush, picture)
  drawAxis(brush, picture)
}

/** Every second lane has another ground. */
function drawBands(brush: Brush, { shape, colours, width, top }: Picture): void {
  brush.fillStyle = colours.band
  shape.lanes.forEach((lane, number) => {
    if (number % 2 === 1) brush.fillRect(0, lane.top - top, width, lane.bottom - lane.top)
  })
}

function drawTimes(brush: Brush, { view, colours, width, height }: Picture): void {
  brush.fillStyle = colours.line
  for (const { millis } of ticks(view.from, view.span, width / TICK_WIDTH)) {
    brush.fillRect(Math.round(view.toX(millis, width)), AXIS_HEIGHT, 1, height)
  }
}

/** Over the rows, which go away beneath it when the picture is scrolled. */
function drawAxis(brush: Brush, { view, colours, width }: Picture): void {
  brush.fillStyle = colours.paper
  brush.fillRect(0, 0, width, AXIS_HEIGHT)
  brush.fillStyle = colours.line
  brush.fillRect(0, AXIS_HEIGHT - 1, width, 1)
  brush.fillStyle = colours.faint
  for (const { millis, words } of ticks(view.from, view.span, width / TICK_WIDTH)) {
    const x = Math.round(view.toX(millis, width))
    brush.fillRect(x, AXIS_HEIGHT - 7, 1, 6)
    if (x + brush.measureText(words).width + 4 < width) brush.fillText(words, x + 4, AXIS_HEIGHT / 2)
  }
}

function drawNames(brush: Brush, { model, shape, colours, top, height, width }: Picture): void {
  model.data.lanes.forEach(({ name, kind }, number) => {
    const y = shape.lanes[number]!.top - top
    if (y > height || y < -shape.rowHeight) return
    brush.font = kind === 'label' ? `bold ${FONT}` : `italic ${FONT}`
    brush.fillStyle = colours.ink
    brush.fillText(fitted(brush, name, width - 16), 8, y + 11)
  })
  brush.font = FONT
}

function visibleRows({ model, shape, top, height }: Picture): number[] {
  const rows: number[] = []
  model.rows.forEach((_, row) => {
    const y = shape.topOf(row) - top
    if (y + shape.rowHeight > AXIS_HEIGHT && y < height) rows.push(row)
  })
  return rows
}

function drawRows(brush: Brush, picture: Picture): void {
  const { model, shape, top } = picture
  for (const row of visibleRows(picture)) {
    const y = shape.topOf(row) - top
    for (const piece of model.rows[row]!.pieces) drawPiece(brush, picture, piece, y)
  }
  brush.globalAlpha = 1
}

function drawPiece(brush: Brush, picture: Picture, [number, start, end, isTail]: PagePiece, y: number): void {
  const { model, view, width, shape, found, selected } = picture
  const item = model.items[number]!
  const left = view.toX(start, width)
  const right = Math.max(view.toX(end, width), left + SHORTEST)
  if (right < 0 || left > width || item.kind === 'event') return
  const x = Math.max(left, -2)
  const box = {
    x,
    y: y + inset(item),
    width: Math.min(right, width + 2) - x,
    height: shape.rowHeight - 2 - 2 * inset(item),
  }
  brush.globalAlpha = found === null || found.has(item) ? 1 : DIMMED
  if (isTail === 1) outline(brush, box, picture.colours.tail)
  else drawBox(brush, picture, item, box)
  if (item === selected) outline(brush, box, picture.colours.accent, 2)
}

interface Box {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

/** What lies in something else is a little lower. */
function inset({ depth, kind }: Shown): number {
  return kind === 'wait' ? 1 : depth
}

function outline(brush: Brush, { x, y, width, height }: Box, colour: string, line = 1): void {
  brush.strokeStyle = colour
  brush.lineWidth = line
  brush.strokeRect(x + 0.5, y + 0.5, Math.max(width - 1, 0.5), height - 1)
}

function fill(brush: Brush, { x, y, width, height }: Box, colour: string): void {
  brush.fillStyle = colour
  brush.fillRect(x, y, width, height)
}

function drawBox(brush: Brush, picture: Picture, item: Shown, box: Box): void {
  const { colours, view, width } = picture
  if (item.sent === null) {
    fill(brush, box, colours[colourOf(item)])
    writeInto(brush, picture, item, box)
    return
  }
  // A one-shot waits in line first. Its text is where there is more room for it.
  const sentAt = Math.min(Math.max(view.toX(item.sent, width), box.x), box.x + box.width)
  const waiting = { ...box, width: sentAt - box.x }
  const working = { ...box, x: sentAt, width: box.width - waiting.width }
  fill(brush, waiting, colours.wait)
  fill(brush, working, colours[colourOf(item)])
  if (waiting.width > working.width) writeInto(brush, picture, item, waiting, colours.ink)
  else writeInto(brush, picture, item, working)
}

function colourOf({ kind, failed }: Shown): ColourName {
  if (kind === 'opening' && failed !== null) return 'bad'
  if (kind === 'batch' || kind === 'event') return 'statement'
  return kind
}

function writeInto(brush: Brush, { colours }: Picture, item: Shown, box: Box, ink?: string): void {
  // What is in a turn says more than the turn does.
  if (box.width < TEXT_WIDTH || item.kind === 'hold' || item.kind === 'transaction') return
  const isDark = item.kind === 'statement' || item.kind === 'batch'
  brush.fillStyle = ink ?? (isDark ? colours['statement-ink'] : colours.ink)
  const isConnection = item.kind === 'connection'
  const text = isConnection ? `process ${item.facts['process'] ?? 'unknown'}` : item.title
  brush.font = box.height < ROW_OF_TEXT ? SMALL_FONT : FONT
  // A sign covers half of itself: at the beginning of a connection, and at the end of all else.
  const covered = item.mark === null ? 0 : SIGN_SIZE / 2 + 2
  const left = box.x + 4 + (isConnection ? covered : 0)
  brush.fillText(fitted(brush, text, box.width - 8 - covered), left, box.y + box.height / 2 + 0.5)
}

/** As much of it as there is room for. */
function fitted(brush: Brush, text: string, room: number): string {
  // Longer ones are not measured: only a part of them could fit.
  const line = text.slice(0, Math.ceil(room / 3)).replace(/\s+/g, ' ')
  if (line.length === text.length && brush.measureText(line).width <= room) return line
  let letters = Math.min(
    line.length,
    Math.floor((room / Math.max(1, brush.measureText(line).width)) * line.length),
  )
  // Letters are not of one width: the guess is a little too long at most.
  while (letters > 0 && brush.measureText(`${line.slice(0, letters)}…`).width > room) letters--
  return letters < 2 ? '' : `${line.slice(0, letters)}…`
}

function drawSigns(brush: Brush, picture: Picture): void {
  const { model, view, width, shape, top, found } = picture
  for (const row of visibleRows(picture)) {
    for (const [number, , , isTail] of model.rows[row]!.pieces) {
      const item = model.items[number]!
      const { mark } = item
      if (mark === null || isTail === 1) continue
      const x = view.toX(markedAt(item), width)
      if (x < -SIGN_SIZE || x > width + SIGN_SIZE) continue
      brush.globalAlpha = found === null || found.has(item) ? 1 : DIMMED
      drawSign(brush, picture, item, x, shape.topOf(row) - top + shape.rowHeight / 2 - 1)
    }
  }
  brush.globalAlpha = 1
}

/** With a rim, so that it stands out from any ground. */
function drawSign(
  brush: Brush,
  { model, colours, selected, width }: Picture,
  item: Shown,
  x: number,
  y: number,
): void {
  const { path, colour } = model.data.signs[item.mark!]
  const scale = SIGN_SIZE / 16
  const left = Math.min(Math.max(x - SIGN_SIZE / 2, 0), width - SIGN_SIZE)
  brush.save()
  brush.translate(left, y - SIGN_SIZE / 2)
  brush.scale(scale, scale)
  const sign = new Path2D(path)
  brush.lineJoin = 'round'
  brush.lineWidth = item === selected ? 6 : 4
  brush.strokeStyle = item === selected ? colours.accent : colours.paper
  brush.stroke(sign)
  brush.fillStyle = colours[colour]
  brush.fill(sign)
  brush.restore()
}
