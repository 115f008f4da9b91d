/**
 * A platform for the handler of `serverless-handler.ts`: it really freezes the process between invocations, and
 * meanwhile its connection is cut. The next invocation works all the same.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { toConninfo } from '../test/support/address.js'
import { startProxy } from '../test/support/proxy.js'
import { openServer } from './support/server.js'
import type { Answer } from './serverless-handler.js'

await using server = await openServer()
// Something between that can hang up: a firewall, a load balancer.
await using proxy = await startProxy(server.login)
const database = toConninfo(
  { ...server.login, host: proxy.host, port: proxy.port },
  process.env['PGDATABASE'] || 'postgres',
)

const instance = fork(fileURLToPath(new URL('serverless-handler.js', import.meta.url)), {
  env: { ...process.env, DATABASE: `${database}?sslmode=disable` },
})

async function invoke(visitor: string): Promise<void> {
  instance.send(visitor)
  const [answer] = (await once(instance, 'message')) as [Answer]
  if ('error' in answer) throw new Error(answer.error)
  console.log(answer.greeting)
}

await invoke('Ann')
await invoke('Bob')

instance.kill('SIGSTOP')
console.log('frozen')
await sleep(300)
proxy.cut('reset')
await sleep(700)
instance.kill('SIGCONT')
console.log('thawed')

await invoke('Cleo')
instance.kill()
await once(instance, 'exit')
