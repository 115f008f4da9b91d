/** The manager that owns the connection. */
import { LocalBroker } from '../broker/local-broker.js'
import { logged } from '../diagnostics/logging.js'
import { explainStrayOption } from '../conninfo/other-names.js'
import { ConnectionPlans, type ConninfoSource } from '../conninfo/plans.js'
import { resolveOptions } from '../options.js'
import { ManagerFace } from './manager-face.js'
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
   * leaves out comes from the PG* environment, the service file, the password file and libpq's defaults. Or a function
   * that gives one or the other, or a promise of it: it is asked at each opening, for users and passwords that change.
   * Where it throws, the opening fails with a `ConnectError` that has the error in `cause`
   * @throws `ConninfoError` for a connection string that libpq refuses; TypeError or RangeError for an option
   */
  constructor(conninfo?: ConninfoSource, options: ManagedConnectionOptions = {}) {
    const plans = new ConnectionPlans(conninfo)
    const resolved = resolveOptions(options, {
      explainStray: explainStrayOption,
      queryTimeoutMillis: plans.known?.statementTimeoutMillis,
    })
    super(
      { conninfo: plans.description, title: 'ManagedConnection' },
      (events) => new LocalBroker(plans, resolved, logged(events, resolved.logger)),
    )
  }
}
