/** Subscribes to a tracing channel for what one manager does. */
import type { Manager } from '../api/manager.js'
import type { TraceContext } from '../api/tracing.js'
import type { Channel } from './channels.js'

/** What is done where something begins, and where it is over. */
export interface Watcher<C extends TraceContext> {
  begin(context: C): void
  end(context: C): void
}

/** Gives the function that ends it. */
export function watch<C extends TraceContext>(
  manager: Manager,
  channel: Channel<C>,
  watcher: Watcher<C>,
): () => void {
  const ifOurs = (tell: (context: C) => void) => (message: unknown) => {
    const context = message as C
    if (context.manager === manager) tell(context)
  }
  const onStart = ifOurs((context) => watcher.begin(context))
  const onEnd = ifOurs((context) => watcher.end(context))
  channel.start.subscribe(onStart)
  channel.asyncEnd.subscribe(onEnd)
  return () => {
    channel.start.unsubscribe(onStart)
    channel.asyncEnd.unsubscribe(onEnd)
  }
}
