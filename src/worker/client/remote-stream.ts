/** The rows of one statement in a worker, fetched from the owner a batch at a time. */
import { throwIfAborted } from '../../util/abort-signals.js'
import { restoreBytes } from '../cloneable.js'
import { parseOdd } from './parsing.js'
import { readStreamCall } from './statement.js'
import type { CustomTypesConfig } from 'pg'
import type { WireRows } from '../protocol.js'
import type { Link } from './link.js'
import type { RemoteLease } from './remote-lease.js'

export interface StreamSource {
  readonly turn: RemoteLease
  /** The number of the handle. */
  readonly handle: number
  readonly link: Link
  /** The worker's own parsers; null where the owner parses. */
  readonly types: CustomTypesConfig | null
  /** Throws why the handle may not be used. */
  check(): void
}

type Row = Record<string, unknown>

export async function* readStream(
  text: string,
  values: unknown[] | undefined,
  options: Readonly<Record<string, unknown>>,
  { turn, handle, link, types, check }: StreamSource,
): AsyncGenerator<Row, void, undefined> {
  const { wire, wish, signal } = readStreamCall(text, values, options, types)
  throwIfAborted(signal)
  check()
  const stream = link.createID()
  let open = false
  turn.outstanding++
  turn.streams++
  try {
    for (;;) {
      throwIfAborted(signal)
      const id = link.createID()
      const opening = open ? null : ([handle, wire] as const)
      const asked: Promise<WireRows> = link.call(id, ['rows', turn.id, stream, id, opening], {
        turn,
        signal,
      })
      open = false
      const batch: WireRows = await asked
      open = !batch.done
      throwIfAborted(signal)
      yield* unpack(batch, wish.types)
      if (!open) return
    }
  } finally {
    if (open) await drop(stream, turn, link)
    turn.outstanding--
    turn.streams--
  }
}

/** Not read to its end. */
async function drop(stream: number, turn: RemoteLease, link: Link): Promise<void> {
  const id = link.createID()
  await link.call(id, ['drop', turn.id, stream, id], { turn }).catch(() => {})
}

function unpack({ rows, bytes, odd }: WireRows, types: CustomTypesConfig | null): Row[] {
  if (bytes) for (const row of rows) restoreBytes(row)
  if (odd !== null) for (const cell of odd) rows[cell.index]![cell.column] = parseOdd(cell, types)
  return rows
}
