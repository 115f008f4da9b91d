/** The manager that owns the connection. */
import { LocalBroker } from '../broker/local-broker.js'
import { logged } from '../diagnostics/logging.js'
import { describeConninfo } from '../conninfo/mask.js'
import { explainStrayOption } from '../conninfo/other-names.js'
import { planConnection } from '../conninfo/plan.js'
import { readConninfo } from '../conninfo/read-conninfo.js'
import { resolveOptions } from '../options.js'
import { ManagerFace } from './manager-face.js'
import type { ConnectionParameters } from '../conninfo/parameters.js'
import type { ManagedConnectionOptions } from '../options.js'

/**
 * One PostgreSQL connection that many concurrent tasks share safely. Each gets exclusive access for a while, in
 * the order of asking; nobody can hand the connection on with a transaction still open; a closed connection is
 * opened again when it is next wanted. Nothing connects before that.
 *
 * ```ts
 * const manager = new ManagedConnection('postgres:///postgres')
 * await manager.use(async (connection) => {
 *   await connection.query('SELECT 1')
 *   await connection.commit()
 * })
 * await manager.end()
 * ```
 */
export class ManagedConnection extends ManagerFace {
  /**
   * @param conninfo any libpq connection string, or an object of libpq's keywords or of pg's config names; what it
   * leaves out comes from the PG* environment, the service file, the password file and libpq's defaults
   * @throws `ConninfoError` for a connection string that libpq refuses; TypeError or RangeError for an option
   */
  constructor(conninfo?: string | URL | ConnectionParameters, options: ManagedConnectionOptions = {}) {
    const given = readConninfo(conninfo)
    const plan = planConnection(given)
    const resolved = resolveOptions(options, {
      explainStray: explainStrayOption,
      queryTimeoutMillis: plan.statementTimeoutMillis,
    })
    super(
      { conninfo: describeConninfo(given), title: 'ManagedConnection' },
      (events) =>
        new LocalBroker(plan, () => planConnection(given), resolved, logged(events, resolved.logger)),
    )
  }
}
