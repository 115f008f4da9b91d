/** Cleans up after a process that started a cluster and could not stop it itself. */
import type { ChildProcess } from 'node:child_process'
import { startGuard } from '../guard.js'

// Kills whatever works in the folder "$0", until nothing does, and removes it.
const SCRIPT = `
read -r _
n=0
while [ $n -lt 50 ]; do
  found=
  for place in /proc/[0-9]*/cwd; do
    case "$(readlink "$place")" in
      "$0"|"$0"/*) pid=\${place#/proc/}; kill -KILL "\${pid%/cwd}"; found=yes ;;
    esac
  done
  [ -z "$found" ] && break
  sleep 0.1
  n=$((n + 1))
done
rm -rf "$0"
`

/** When this process ends in any way, all that works in the folder is killed, and the folder removed. */
export function startClusterGuard(folder: string): ChildProcess {
  return startGuard(folder, SCRIPT)
}
