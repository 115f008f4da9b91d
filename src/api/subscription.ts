/** What `listen` gives. */

/**
 * What a subscription yields: a notification, or the word that some may have been missed, because the connection
 * was lost and opened again (`type: 'gap'`).
 */
export type Notification =
  | {
      readonly type?: undefined
      readonly channel: string
      /** Empty where NOTIFY gave none. */
      readonly payload: string
      /** The server process that sent it. */
      readonly processID: number
    }
  | { readonly type: 'gap'; readonly channel: string }

/**
 * A channel's notifications from the moment that `listen` resolved, in order. Survives reconnects. Ends when it is
 * disposed of, or when the manager ends; disposal never waits for a turn.
 *
 * ```ts
 * await using subscription = await manager.listen('jobs')
 * for await (const notification of subscription) {
 *   if (notification.type === 'gap') continue // look at the table: something may have been missed
 *   console.log(notification.payload)
 * }
 * ```
 */
export interface Subscription extends AsyncIterable<Notification>, AsyncDisposable {
  readonly channel: string
  /** How many notifications wait to be read. */
  readonly buffered: number
  /** Ends it: what is buffered is dropped, and reading it ends. Never waits for a turn. */
  close(): Promise<void>
}
