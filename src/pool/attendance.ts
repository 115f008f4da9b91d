import { timerFor } from '../util/timer.js'

/** Counts what `end()` waits for: borrowings, from connect() to release(), and queries that are not answered. */
export class Attendance {
  #count = 0
  #onEmpty: (() => void) | null = null

  enter(): void {
    this.#count++
  }

  leave(): void {
    this.#count--
    if (this.#count === 0) this.#onEmpty?.()
  }

  /** Resolves when nobody is left, or when the time is over. */
  async emptied(timeoutMillis: number): Promise<void> {
    if (this.#count === 0) return
    const empty = new Promise<void>((resolve) => {
      this.#onEmpty = resolve
    })
    const timer = timerFor(timeoutMillis, () => this.#onEmpty!())
    await empty
    timer?.stop()
  }
}
