/** The tracing channels, and how something that takes its time is told to one. */
import { tracingChannel, type TracingChannel } from 'node:diagnostics_channel'
import type {
  ConnectContext,
  HoldContext,
  StatementContext,
  TraceContext,
  TransactionContext,
  WaitContext,
} from '../api/tracing.js'

export type Channel<C extends TraceContext> = TracingChannel<unknown, C>

function open<C extends TraceContext>(name: string): Channel<C> {
  return tracingChannel<unknown, C>(`pg-managed-connection:${name}`)
}

export const CONNECT = open<ConnectContext>('connect')
export const WAIT = open<WaitContext>('wait')
export const HOLD = open<HoldContext>('hold')
export const TRANSACTION = open<TransactionContext>('transaction')
export const STATEMENT = open<StatementContext>('statement')

/** Somebody wants to know of calls. It is asked for each of them. */
export function callsAreTraced(): boolean {
  return isTraced(WAIT) || isTraced(HOLD) || isTraced(TRANSACTION) || isTraced(STATEMENT)
}

/** What `channel.hasSubscribers` says in Node; in Bun only the channels of its parts have that property. */
export function isTraced<C extends TraceContext>({
  start,
  end,
  asyncStart,
  asyncEnd,
  error,
}: Channel<C>): boolean {
  return (
    start.hasSubscribers ||
    end.hasSubscribers ||
    asyncStart.hasSubscribers ||
    asyncEnd.hasSubscribers ||
    error.hasSubscribers
  )
}

/** Tells that something has begun. Its `asyncStart` and `asyncEnd` follow with `finish`. */
export function begin<C extends TraceContext>(channel: Channel<C>, context: C): void {
  channel.start.publish(context)
  channel.end.publish(context)
}

/** The same of what `run` begins, which sees the stores that are bound to the channel. */
export function beginWith<C extends TraceContext, T>(channel: Channel<C>, context: C, run: () => T): T {
  try {
    return channel.start.runStores(context, run)
  } finally {
    channel.end.publish(context)
  }
}

/** Tells that it is over; with what it has failed with, where it did. */
export function finish<C extends TraceContext>(
  channel: Channel<C>,
  context: C,
  failure?: { error: unknown },
): void {
  if (failure !== undefined) {
    context.error = failure.error
    channel.error.publish(context)
  }
  channel.asyncStart.publish(context)
  channel.asyncEnd.publish(context)
}
