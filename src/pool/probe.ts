/** Learns when everything that was asked for before it is over: a submittable that asks the server for nothing. */
import type { Connection } from 'pg'

export class Probe {
  readonly #onOver: () => void

  constructor(onOver: () => void) {
    this.#onOver = onOver
  }

  submit(connection: Connection): void {
    connection.sync()
  }

  handleReadyForQuery(): void {
    this.#onOver()
  }

  handleError(): void {
    this.#onOver()
  }
}
