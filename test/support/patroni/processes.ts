/**
 * The processes of a folder: those that work there. A server's children and the programs that Patroni starts are found
 * by nothing else; they have sessions of their own, and PostgreSQL writes over its environment.
 */
import { readdir, readlink } from 'node:fs/promises'
import { sep } from 'node:path'
import { until } from '../wait.js'

/** Those whose working directory is the folder, or is below it. */
function processesOf(folder: string): Promise<number[]> {
  return findProcesses((place) => place === folder || place.startsWith(folder + sep))
}

/** Those whose working directory is the folder itself. */
export function processesAt(folder: string): Promise<number[]> {
  return findProcesses((place) => place === folder)
}

async function findProcesses(wanted: (place: string) => boolean): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const found = await Promise.all(
    pids.map(async (pid) => {
      // One that has ended meanwhile, or that is somebody else's, tells nothing.
      const place = await readlink(`/proc/${pid}/cwd`).catch(() => '')
      return wanted(place) ? [Number(pid)] : []
    }),
  )
  return found.flat()
}

/** Sends the signal to all of them at once, as far as one can; a process can start another meanwhile. */
export async function signalAll(folder: string, signal: NodeJS.Signals): Promise<void> {
  for (const pid of await processesOf(folder)) sendSignal(pid, signal)
}

/** Sends the signal to one process, which may have ended already. */
export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** Ends all of them without giving them time for anything, and returns when they have gone. */
export async function killAll(folder: string): Promise<void> {
  await until(
    async () => {
      await signalAll(folder, 'SIGKILL')
      return (await processesOf(folder)).length === 0
    },
    { what: `the processes in ${folder} to end` },
  )
}
