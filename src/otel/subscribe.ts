/** Listens to the tracing channels for one manager. */
import { tracingChannel, type TracingChannelSubscribers } from 'node:diagnostics_channel'
import type {
  ConnectContext,
  HoldContext,
  Manager,
  StatementContext,
  TransactionContext,
  WaitContext,
} from '../index.js'

/** What each channel tells of. */
export interface Contexts {
  connect: ConnectContext
  wait: WaitContext
  hold: HoldContext
  transaction: TransactionContext
  statement: StatementContext
}

/** What is to be done when something begins, and when it is over. */
export interface Watcher<C> {
  begin(context: C): void
  end(context: C): void
}

const ignore = (): void => {}

/** Has `watcher` told of what this manager does. Gives the function that ends it. */
export function watch<K extends keyof Contexts>(
  manager: Manager,
  kind: K,
  watcher: Watcher<Contexts[K]>,
): () => void {
  const channel = tracingChannel<unknown, Contexts[K]>(`pg-managed-connection:${kind}`)
  const only = (tell: (context: Contexts[K]) => void) => (context: Contexts[K]) => {
    if (context.manager === manager) tell(context)
  }
  const subscribers: TracingChannelSubscribers<Contexts[K]> = {
    start: only((context) => watcher.begin(context)),
    end: ignore,
    asyncStart: ignore,
    asyncEnd: only((context) => watcher.end(context)),
    error: ignore,
  }
  channel.subscribe(subscribers)
  return () => void channel.unsubscribe(subscribers)
}
