/** Yields the rows of one statement, fetched a batch at a time, so that memory stays flat whatever their number. */
import { ConnectionReleasedError } from '../errors.js'
import { throwIfAborted } from '../util/abort-signals.js'
import { readCall } from './read-call.js'
import type { RowSource } from '../api/ports.js'
import type { StreamOptions } from '../api/query.js'
import type { HandleContext } from './held-connection.js'
import type { LeaseUse, Level } from './nesting.js'

const DEFAULT_BATCH_SIZE = 100

/** @param config the statement, with the stream's options */
export async function* readRows(
  config: StreamOptions & { readonly text: string; readonly values: unknown[] | undefined },
  use: LeaseUse,
  level: Level,
  { defaults, instruments }: HandleContext,
): AsyncGenerator<never, void, undefined> {
  const batchSize = readBatchSize(config)
  const asked = readCall(config, undefined, defaults)
  throwIfAborted(asked.limits.signal)
  const refusal = level.refusal()
  if (refusal !== null) throw refusal
  const shown = instruments.show(asked)
  // Until its reader has left, even if all rows have come: few rows are to behave as many do.
  use.streams++
  // The nested transaction that the handle is of may end meanwhile.
  const released = (): Error | null => (level.over ? new ConnectionReleasedError('transaction') : null)
  let failure: unknown = null
  try {
    const call = shown?.calls[0] ?? asked
    yield* readAll(use.lease.openRows(call, batchSize, released), call.limits.signal, batchSize)
  } catch (error) {
    failure = error
    throw error
  } finally {
    use.streams--
    shown?.settle(failure)
  }
}

function readBatchSize({ batchSize = DEFAULT_BATCH_SIZE }: StreamOptions): number {
  if (Number.isInteger(batchSize) && batchSize >= 1) return batchSize
  throw new RangeError(`batchSize must be a whole number, 1 or more, but is ${String(batchSize)}`)
}

async function* readAll(
  source: RowSource,
  signal: AbortSignal | undefined,
  batchSize: number,
): AsyncGenerator<never, void, undefined> {
  try {
    for (;;) {
      const rows = (await source.read()) as never[]
      throwIfAborted(signal)
      yield* rows
      if (rows.length < batchSize) return
      throwIfAborted(signal)
    }
  } finally {
    await source.close()
  }
}
