/** Which states may follow which. */
export type Transitions<S extends string> = Readonly<Record<S, readonly S[]>>

/** Gives `to`, where that may follow `from`. Everything else is a mistake of this library. */
export function become<S extends string>(of: string, table: Transitions<S>, from: S, to: S): S {
  if (!table[from].includes(to)) throw new Error(`BUG: ${of} went from ${from} to ${to}`)
  return to
}
