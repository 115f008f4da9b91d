/**
 * Hears the session's notifications for a client that listens: a submittable that asks the server for nothing,
 * and so learns which of pg's connections it is on.
 */
import type { Connection, Notification } from 'pg'

/** What pg's client calls of a submittable that only waits for ReadyForQuery. */
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
