/** Counts who is inside at the same time, from the demo's side: it does not ask the library. */
export class Occupancy {
  #inside = 0
  #most = 0
  #visits = 0

  /** The most that were ever inside at the same time. */
  get most(): number {
    return this.#most
  }

  get visits(): number {
    return this.#visits
  }

  /** Runs `work`, a holder's callback, as somebody who is inside. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    this.#visits++
    this.#most = Math.max(this.#most, ++this.#inside)
    try {
      return await work()
    } finally {
      this.#inside--
    }
  }
}
