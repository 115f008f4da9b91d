/** Who runs the server, and which folders that user can reach. */
import { chown, readFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/** An unprivileged user of this machine. */
export interface ServerUser {
  readonly uid: number
  readonly gid: number
}

/**
 * The user to run the server as: PostgreSQL refuses to run as root, so root borrows `postgres` or `nobody`.
 * Undefined when we are not root and it simply runs as ourselves.
 */
export async function findServerUser(): Promise<ServerUser | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const passwd = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'))
  for (const name of ['postgres', 'nobody']) {
    const entry = passwd.find((fields) => fields[0] === name)
    if (entry !== undefined) return { uid: Number(entry[2]), gid: Number(entry[3]) }
  }
  throw new Error('PostgreSQL does not run as root, and there is no user postgres or nobody to run it as')
}

/** Whether the user can enter the folder. Judged by the bits for "others", so it may say no too often. */
export async function canReach(user: ServerUser | undefined, folder: string): Promise<boolean> {
  if (user === undefined) return true
  const { mode } = await stat(folder)
  if ((mode & 0o001) === 0) return false
  const parent = dirname(folder)
  return parent === folder || canReach(user, parent)
}

/** Makes the user the owner of a path, if we run the server as somebody else. */
export async function giveTo(user: ServerUser | undefined, path: string): Promise<void> {
  if (user !== undefined) await chown(path, user.uid, user.gid)
}
