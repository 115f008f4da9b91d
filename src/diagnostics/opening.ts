/** Tells the tracing channel that the server connection is being opened. */
import { beginWith, CONNECT, finish, isTraced } from './channels.js'
import type { Manager } from '../api/manager.js'
import type { ConnectContext } from '../api/tracing.js'

/** What is told of a connection that was opened. */
interface Opened {
  readonly processID: number | null
  readonly client: { readonly host: string; readonly port: number }
}

/** Gives the very promise of `open`, so that who waits for it is told as soon as without this. */
export function traceOpening<T extends Opened>(
  manager: Manager,
  reconnecting: boolean,
  open: () => Promise<T>,
): Promise<T> {
  if (!isTraced(CONNECT)) return open()
  const context: ConnectContext = { manager, reconnecting, host: null, port: null, processID: null }
  const opening = beginWith(CONNECT, context, open)
  opening.then(
    ({ processID, client: { host, port } }) => {
      Object.assign(context, { host, port, processID } satisfies Partial<ConnectContext>)
      finish(CONNECT, context)
    },
    (error: unknown) => finish(CONNECT, context, { error }),
  )
  return opening
}
