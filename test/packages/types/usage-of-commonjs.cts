/** For the compiler alone: `require` of the package, which Node can do. */
import managed = require('pg-managed-connection')
import pools = require('pg-managed-connection/pool')

const manager: managed.ManagedConnection = new managed.ManagedConnection('postgres:///bank')
const pool: pools.ManagedPool = pools.asPool(manager)
export = pool
