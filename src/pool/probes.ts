/** Submittables that ask the server for nothing: they learn which of pg's connections they are on, and when. */
import type { Connection, Notification } from 'pg'

/** Tells when everything that was asked for before it is over. */
export class Probe {
  readonly handleReadyForQuery: () => void
  readonly handleError: () => void

  constructor(onOver: () => void) {
    this.handleReadyForQuery = onOver
    this.handleError = onOver
  }

  submit(connection: Connection): void {
    connection.sync()
  }
}

/** Hears the session's notifications for a client that listens. */
export class NotificationTap {
  readonly #onNotification: (notification: Notification) => void
  #connection: Connection | null = null

  constructor(onNotification: (notification: Notification) => void) {
    this.#onNotification = onNotification
  }

  /** Hears nothing more. */
  close(): void {
    this.#connection?.off('notification', this.#onNotification)
    this.#connection = null
  }

  submit(connection: Connection): void {
    this.#connection = connection
    connection.on('notification', this.#onNotification)
    connection.sync()
  }

  handleReadyForQuery(): void {}

  handleError(): void {
    this.close()
  }
}
