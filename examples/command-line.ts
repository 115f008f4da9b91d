/**
 * A command for a shell: psql's connection strings and PG* variables, a clear word and an exit code where something is
 * wrong, Ctrl-C that cancels what runs, and no connection left behind.
 */
import { parseArgs } from 'node:util'
import { ConnectError, ConninfoError, DatabaseError, ManagedConnection } from 'pg-managed-connection'
import { openServer } from './support/server.js'

const EXIT = { fine: 0, failed: 1, usage: 2, interrupted: 130 } as const

/** Runs the command and gives its exit code. `signal` is that of Ctrl-C. */
async function main(
  args: readonly string[],
  signal: AbortSignal,
  complain: (message: string) => void = console.error,
): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { dbname: { type: 'string' } },
  })
  const [text] = positionals
  if (text === undefined) {
    complain('usage: command-line [--dbname CONNINFO] STATEMENT')
    return EXIT.usage
  }
  try {
    await using manager = new ManagedConnection(values.dbname)
    const { rows } = await manager.transaction((connection) => connection.query(text), { signal })
    for (const row of rows) console.log(JSON.stringify(row))
    return EXIT.fine
  } catch (error) {
    if (signal.aborted) return EXIT.interrupted
    // A ConnectError tells the whole story, and what to do about it.
    if (error instanceof ConnectError || error instanceof ConninfoError) complain(error.message)
    else if (error instanceof DatabaseError) complain(`${error.severity}: ${error.message} (${error.code})`)
    else throw error
    return error instanceof ConninfoError ? EXIT.usage : EXIT.failed
  }
}

const interrupter = new AbortController()
process.once('SIGINT', () => interrupter.abort())

if (process.argv.length > 2) {
  process.exitCode = await main(process.argv.slice(2), interrupter.signal)
} else {
  // Without arguments it shows what it does, on a server of its own.
  await using server = await openServer()
  const show = async (args: readonly string[], signal = new AbortController().signal): Promise<number> => {
    const code = await main(['--dbname', server.conninfo, ...args], signal, console.log)
    console.log('exit code:', code)
    return code
  }
  process.exitCode = await show(['SELECT 1 AS one'])
  await show(['SELECT 1 / 0'])
  await show(['--dbname', 'host=127.0.0.1 port=1 user=nobody', 'SELECT 1'])
  await show(['SELECT pg_sleep(30)'], AbortSignal.timeout(100))
}
