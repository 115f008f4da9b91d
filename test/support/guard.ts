/** Cleans up after a process that could not do it itself. */
import { spawn, type ChildProcess } from 'node:child_process'

// Waits until the other end of its standard input is closed, which the kernel does however we die. Then it ends
// the server whose data folder is below "$0", and removes the folder.
const SCRIPT = `
read -r _
pid=$(head -n 1 "$0/data/postmaster.pid")
if [ -n "$pid" ]; then
  kill -QUIT "$pid"
  n=0
  while kill -0 "$pid" && [ $n -lt 50 ]; do sleep 0.1; n=$((n + 1)); done
  kill -KILL "$pid"
fi
rm -rf "$0"
`

/**
 * Starts a guard over a server's folder: when this process ends in any way (a signal, a crash, or forgetting to
 * stop the server), the server is stopped and the folder removed. It does not keep this process alive. Kill the
 * guard when there is nothing left to clean.
 *
 * @param script what to do instead, in the shell's words; the folder is its `$0`
 */
export function startGuard(folder: string, script = SCRIPT): ChildProcess {
  // A session of its own, so that Ctrl-C in a terminal does not reach it.
  const guard = spawn('/bin/sh', ['-c', script, folder], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  guard.unref()
  // It is a pipe, which is a socket to node, and would keep the process alive on its own. In Bun it is none.
  const input = guard.stdin as unknown as { unref?(): void }
  input.unref?.()
  return guard
}
