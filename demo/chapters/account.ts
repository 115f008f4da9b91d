/** The end: what was confirmed beside what is stored. */
import { ROWS, type Row } from '../counters.js'
import { count, heading, paint, say, write } from '../screen.js'
import type { Stage } from '../stage.js'
import { writeTable } from '../table.js'

const NAMES: Readonly<Record<Row, string>> = {
  managed: 'many tasks, one backend',
  pool: 'the same on pg.Pool',
  mistakes: 'mistakes and double use',
  killed: 'killed backends',
  restart: 'server restart',
}

export async function balanceAccounts({ manager, claims, counters, occupancy }: Stage): Promise<void> {
  heading('Nothing was lost')
  const stored = await counters.stored()
  const found = ROWS.map((row) => ({ row, confirmed: counters.confirmed(row), stored: stored[row] }))
  writeTable(
    ['increments', 'confirmed', 'stored', ''],
    found.map(({ row, confirmed, stored }) => [
      NAMES[row],
      count(confirmed),
      count(stored),
      confirmed === stored ? 'ok' : 'WRONG',
    ]),
  )
  write()
  const { connects, rollbacks, waiting, held } = manager.stats
  writeTable(
    ['the manager', ''],
    [
      ['callbacks that had the connection', count(occupancy.visits)],
      ['the most that had it at the same time', count(occupancy.most)],
      ['server connections, one after the other', count(connects)],
      ['transactions that the library rolled back', count(rollbacks)],
    ],
  )
  write()
  claims.check(
    found.every(({ confirmed, stored }) => confirmed === stored),
    'what was confirmed is stored, and nothing else',
  )
  claims.check(occupancy.most === 1, 'there were never two holders')
  claims.check(waiting === 0 && !held, 'nobody holds the connection any more, and nobody waits')
}

export function conclude({ claims }: Stage): void {
  write()
  if (claims.failed.length === 0) {
    write(paint('green', `All ${claims.total} claims held.`))
    return
  }
  write(paint('red', `${claims.failed.length} of ${claims.total} claims did not hold:`))
  for (const sentence of claims.failed) say(`- ${sentence}`)
}
