/** The picture: what of it is seen, what is selected, and when it is drawn again. */
import { readColours, type Colours } from './colours.js'
import { draw } from './draw.js'
import { hit } from './hit.js'
import { Shape, AXIS_HEIGHT } from './shape.js'
import { View } from './view.js'
import type { Model, Shown } from './model.js'

/** No part of the window's height that is smaller than this is worth scrolling in. */
const LEAST_HEIGHT = 160

export class Board {
  readonly model: Model
  readonly view: View
  readonly element: HTMLElement
  /** Called when another item is selected. */
  onSelect: (item: Shown) => void = () => {}
  readonly #canvas: HTMLCanvasElement
  readonly #shape: Shape
  #colours: Colours = readColours()
  #selected: Shown | null = null
  #found: ReadonlySet<Shown> | null = null
  #isDue = false

  constructor(element: HTMLElement, model: Model) {
    this.element = element
    this.model = model
    this.view = new View(model.data.period)
    this.#shape = new Shape(model)
    this.#canvas = element.querySelector('canvas')!
    element.querySelector<HTMLElement>('#extent')!.style.height = `${this.#shape.height}px`
    element.addEventListener('scroll', () => this.redraw())
    new ResizeObserver(() => this.#fit()).observe(element)
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
      this.#colours = readColours()
      this.redraw()
    })
    this.#fit()
  }

  get width(): number {
    return this.element.clientWidth
  }

  get selected(): Shown | null {
    return this.#selected
  }

  /** The canvas is as large as what is seen, in the pixels of the screen. */
  #fit(): void {
    const height = Math.max(LEAST_HEIGHT, Math.min(this.#shape.height + 4, window.innerHeight * 0.7))
    this.element.style.height = `${height}px`
    const scale = window.devicePixelRatio
    this.#canvas.width = Math.round(this.width * scale)
    this.#canvas.height = Math.round(this.element.clientHeight * scale)
    this.#canvas.style.width = `${this.width}px`
    this.#canvas.style.height = `${this.element.clientHeight}px`
    this.#draw()
  }

  /** Once for all that changes before the next frame. */
  redraw(): void {
    if (this.#isDue) return
    this.#isDue = true
    requestAnimationFrame(() => {
      this.#isDue = false
      this.#draw()
    })
  }

  #draw(): void {
    const brush = this.#canvas.getContext('2d')!
    const scale = window.devicePixelRatio
    brush.setTransform(scale, 0, 0, scale, 0, 0)
    draw(brush, {
      model: this.model,
      shape: this.#shape,
      view: this.view,
      colours: this.#colours,
      width: this.width,
      height: this.element.clientHeight,
      top: this.element.scrollTop,
      selected: this.#selected,
      found: this.#found,
    })
  }

  /** The place in the picture under the pointer. */
  #placeOf({ clientX, clientY }: MouseEvent): { x: number; y: number } {
    const { left, top } = this.element.getBoundingClientRect()
    return { x: clientX - left, y: clientY - top }
  }

  millisAt(event: MouseEvent): number {
    return this.view.toMillis(this.#placeOf(event).x, this.width)
  }

  itemAt(event: MouseEvent): Shown | null {
    const { x, y } = this.#placeOf(event)
    if (y < AXIS_HEIGHT) return null
    const place = { x, y: y + this.element.scrollTop, width: this.width }
    return hit(this.model, this.#shape, this.view, place)
  }

  select(item: Shown): void {
    this.#selected = item
    this.onSelect(item)
    this.redraw()
  }

  /** Selects it and brings it into sight. */
  show(item: Shown): void {
    this.view.reveal(item.start, item.end)
    const y = this.#shape.topOf(item.row)
    const { scrollTop, clientHeight } = this.element
    const isSeen = y >= scrollTop + AXIS_HEIGHT && y + this.#shape.rowHeight <= scrollTop + clientHeight
    if (!isSeen) this.element.scrollTop = y - clientHeight / 2
    this.select(item)
  }

  highlight(found: readonly Shown[] | null): void {
    this.#found = found === null ? null : new Set(found)
    this.redraw()
  }
}
