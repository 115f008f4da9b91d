/** A list of bounded length: whatever is added to a full one takes the place of its oldest element. */
export class Ring<T> {
  readonly capacity: number
  readonly #elements: T[] = []
  #oldest = 0
  #dropped = 0

  constructor(capacity: number) {
    this.capacity = capacity
  }

  get size(): number {
    return this.#elements.length
  }

  /** How many had to go. */
  get dropped(): number {
    return this.#dropped
  }

  add(element: T): void {
    if (this.#elements.length < this.capacity) {
      this.#elements.push(element)
      return
    }
    this.#elements[this.#oldest] = element
    this.#oldest = (this.#oldest + 1) % this.capacity
    this.#dropped++
  }

  /** All of them, the oldest first. */
  toArray(): T[] {
    return [...this.#elements.slice(this.#oldest), ...this.#elements.slice(0, this.#oldest)]
  }
}
