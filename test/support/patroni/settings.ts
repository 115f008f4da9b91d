/** What Patroni is told: of the cluster, once, and of each of its nodes. */
import { join } from 'node:path'

/** A node, and where it is found. */
export interface Place {
  readonly name: string
  readonly folder: string
  /** Of its server, on 127.0.0.1. */
  readonly port: number
  /** Of its Patroni. */
  readonly restPort: number
}

export interface Surroundings {
  /** Where etcd answers, such as `127.0.0.1:20123`. */
  readonly etcd: string
  /** The folder with the programs of PostgreSQL. */
  readonly postgres: string
}

/** Who is the superuser of each server. */
export const SUPERUSER = 'postgres'
const REPLICATOR = 'replicator'

/**
 * Seconds until a primary that says nothing is replaced. Patroni recommends 20 at least, and newer versions make it 20;
 * this is as short as goes with the other two: loop_wait + 2 * retry_timeout <= ttl.
 */
const TIMES = { ttl: 10, loop_wait: 1, retry_timeout: 3 }

const PARAMETERS = {
  // It matters only when the machine crashes. Whole pages are written because pg_rewind wants them.
  fsync: 'off',
  shared_buffers: '16MB',
  max_connections: 30,
  wal_keep_size: '256MB',
  // A standby that is frozen is left behind soon, and a session whose client has gone is noticed.
  wal_sender_timeout: '5s',
  wal_receiver_timeout: '5s',
  // The other standby looks for the new primary this often; until one of them has found it, nothing is confirmed.
  wal_retrieve_retry_interval: '500ms',
  tcp_user_timeout: '5s',
  log_line_prefix: '%m [%p] ',
}

const HBA = [
  'local all all trust',
  'host all all 127.0.0.1/32 trust',
  'host replication all 127.0.0.1/32 trust',
]

/** What the first node writes into etcd, for all of them. */
function bootstrap(): object {
  const dcs = {
    ...TIMES,
    maximum_lag_on_failover: 1_048_576,
    // A server that died is not waited for: another one takes over. Older versions know the second name only.
    primary_start_timeout: 0,
    master_start_timeout: 0,
    // What is confirmed is on two nodes; where there is no second one, nothing is confirmed.
    synchronous_mode: true,
    synchronous_mode_strict: true,
    postgresql: { use_pg_rewind: true, parameters: PARAMETERS },
  }
  return { dcs, initdb: ['no-locale', 'no-sync', { encoding: 'UTF8' }, { auth: 'trust' }], pg_hba: HBA }
}

/** Patroni's file for one node. It is JSON, which YAML takes for YAML. */
export function settingsOf(
  { name, folder, port, restPort }: Place,
  { etcd, postgres }: Surroundings,
): string {
  const address = `127.0.0.1:${port}`
  const rest = `127.0.0.1:${restPort}`
  const settings = {
    scope: 'cluster',
    name,
    restapi: { listen: rest, connect_address: rest },
    // The older of its APIs. By the newer one, Patroni 3.0 takes the lock back from the new primary when it was frozen
    // and goes on, because it writes the key whatever is there; what the new one had confirmed is lost then.
    etcd: { hosts: [etcd] },
    bootstrap: bootstrap(),
    postgresql: {
      ...{ listen: address, connect_address: address, bin_dir: postgres },
      ...{ data_dir: join(folder, 'data'), pgpass: join(folder, 'pgpass') },
      authentication: {
        superuser: { username: SUPERUSER },
        rewind: { username: SUPERUSER },
        replication: { username: REPLICATOR },
      },
      parameters: { unix_socket_directories: folder },
      remove_data_directory_on_rewind_failure: true,
      remove_data_directory_on_diverged_timelines: true,
    },
    watchdog: { mode: 'off' },
  }
  return JSON.stringify(settings, null, 2)
}
