/** etcd, where Patroni keeps who the primary is. One is enough: it is not what is tried here. */
import { freePort } from '../free-port.js'
import type { ServerUser } from '../server-user.js'
import { until } from '../wait.js'
import { launch } from './launch.js'
import type { ClusterPrograms } from './programs.js'

/** Starts it in the folder, and returns where it answers, such as `127.0.0.1:20123`. */
export async function startEtcd(
  { etcd: program, env }: ClusterPrograms,
  folder: string,
  user: ServerUser | undefined,
): Promise<string> {
  const address = `127.0.0.1:${await freePort()}`
  const peers = `http://127.0.0.1:${await freePort()}`
  const client = `http://${address}`
  const args = [
    ...['--name', 'only', '--data-dir', 'data', '--enable-v2'],
    ...['--listen-client-urls', client, '--advertise-client-urls', client],
    ...['--listen-peer-urls', peers, '--initial-advertise-peer-urls', peers],
    ...['--initial-cluster', `only=${peers}`],
  ]
  await launch({ program, args, folder, user, env })
  await until(() => isHealthy(client), { what: 'etcd to answer', timeoutMillis: 30_000 })
  return address
}

async function isHealthy(url: string): Promise<boolean> {
  const answer = await fetch(`${url}/health`).catch(() => undefined)
  return answer?.ok === true && (await answer.text()).includes('true')
}
