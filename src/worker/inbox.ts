/** Hears what has arrived: all messages at once, so that what they cause is answered in one. */
import { receiveMessageOnPort } from 'node:worker_threads'
import type { MessagePort } from 'node:worker_threads'

export interface InboxHooks<Entry> {
  hear(entry: Entry): void
  /** The other side is gone. Called once. */
  closed(): void
  /** What came could not be read. */
  failed(error: Error): void
}

/** So many messages are taken at a time: others want to run, too. */
const MOST_AT_ONCE = 256

/** Listens, without keeping the thread alive. */
export function listenTo<Entry>(port: MessagePort, hooks: InboxHooks<Entry>): void {
  const hearAll = (message: unknown): void => {
    if (!Array.isArray(message)) return hooks.failed(new TypeError('a message on the port is no list'))
    for (const entry of message as Entry[]) hooks.hear(entry)
  }
  port.on('message', (first: unknown) => {
    hearAll(first)
    for (let count = 1; count < MOST_AT_ONCE; count++) {
      const another = receiveMessageOnPort(port) as { message: unknown } | undefined
      if (another === undefined) return
      hearAll(another.message)
    }
  })
  port.on('messageerror', (error) => hooks.failed(error))
  port.once('close', () => hooks.closed())
  port.unref()
}
