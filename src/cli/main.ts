#!/usr/bin/env node
import { run } from './command.js'

// What is to be said about the connection parameters stands in the report.
process.removeAllListeners('warning')
process.on('warning', ({ name, message }) => {
  if (name !== 'ConninfoWarning') process.stderr.write(`${name}: ${message}\n`)
})
// A program that reads only the first lines closes its end early.
process.stdout.on('error', () => process.exit())

/** An unforeseen error may quote anything, so only where it happened is shown. */
function describeBug(error: unknown): string {
  const { name = 'error', stack = '' } = (error ?? {}) as Partial<Error>
  const places = stack.split('\n').filter((line) => /^ {4}at /.test(line))
  return [`pg-managed-connection: unforeseen ${name}; please report it`, ...places, ''].join('\n')
}

async function main(): Promise<number> {
  try {
    return await run(process.argv.slice(2), process)
  } catch (error) {
    process.stderr.write(describeBug(error))
    return 1
  }
}

void main().then((code) => {
  process.exitCode = code
  // A name that is still being looked up must not keep the process; but what was printed must get out first.
  process.stdout.write('', () => process.exit())
})
