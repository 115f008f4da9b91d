/** Who holds the connection, as messages say it. */
import { quoteStatement } from './quote-statement.js'

export function named(label: string | null): string {
  return label === null ? '' : `${JSON.stringify(label)} `
}

export function acquiredAt(stack: string | null): string {
  return stack === null ? '' : `; acquired at:\n${stack}`
}

export function describeHolder(facts: {
  readonly holderLabel: string | null
  readonly heldMillis: number | null
  readonly statement: string | null
}): string {
  const { holderLabel, heldMillis, statement } = facts
  const by = holderLabel === null ? '' : ` by ${JSON.stringify(holderLabel)}`
  const running = statement === null ? '' : `, running: ${quoteStatement(statement)}`
  return `held${by} for ${heldMillis}ms${running}`
}
