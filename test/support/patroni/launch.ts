/** Starts a program that stays, in a folder of its own. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { ServerUser } from '../server-user.js'

export interface Launch {
  readonly program: string
  readonly args: readonly string[]
  /** Where it works and what it is found by; its output goes to the file `log` there. */
  readonly folder: string
  readonly user: ServerUser | undefined
  /** What the program needs in its environment. */
  readonly env: NodeJS.ProcessEnv
}

/** It does not keep this process alive, and Ctrl-C in a terminal does not reach it. */
export async function launch({ program, args, folder, user, env }: Launch): Promise<ChildProcess> {
  const log = await open(join(folder, 'log'), 'a')
  try {
    const child = spawn(program, args, {
      ...user,
      cwd: folder,
      // Nothing else of our environment: PGPORT, PATRONI_NAME and ETCD_NAME would be read.
      env: { ...env, PATH: process.env['PATH'], HOME: folder, LC_ALL: 'C', TZ: 'UTC' },
      stdio: ['ignore', log.fd, log.fd],
      detached: true,
    })
    await once(child, 'spawn')
    child.unref()
    return child
  } finally {
    await log.close()
  }
}
