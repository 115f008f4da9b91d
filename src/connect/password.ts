import { passwordFromFile } from '../conninfo/local-files.js'
import type { ConnectPlan } from '../conninfo/plan.js'
import { Failure, type AttemptTarget } from './attempt-error.js'

/**
 * The password for an attempt; a function or a password file is asked anew each time.
 *
 * @throws Failure of kind `policy` when there is none
 */
export async function givePassword(plan: ConnectPlan, target: AttemptTarget): Promise<string> {
  const password = await askSource(plan, target)
  if (password === undefined || password === '') {
    throw new Failure('policy', 'fe_sendauth: no password supplied')
  }
  if (typeof password !== 'string') {
    throw new Failure('policy', `the password function must give a string, not ${typeof password}`)
  }
  return password
}

async function askSource(plan: ConnectPlan, target: AttemptTarget): Promise<string | undefined> {
  const { password } = plan
  if (password.kind === 'text') return password.secret.reveal()
  if (password.kind === 'function') {
    try {
      return await password.get()
    } catch (error) {
      throw new Failure('policy', 'the password function failed', error)
    }
  }
  const { port, address = '', host } = target
  const { database, user } = plan
  return passwordFromFile(password.file, { host: host || address, port, database, user })
}
