import { existsSync, readFileSync } from 'node:fs'
import { ConninfoError } from '../errors.js'
import { isKeyword } from './keywords.js'
import { systemServiceFiles, userFiles } from './local-defaults.js'

/** libpq reads lines into a buffer of this many bytes, and refuses what does not fit. */
const LINE_BYTES = 1024

/**
 * Looks a service up: in `PGSERVICEFILE` or else `~/.pg_service.conf`, then in the system-wide file.
 *
 * @returns what it stands for, and the file that says so
 * @see PostgreSQL manual, "The Connection Service File" (libpq)
 * @throws ConninfoError when no file defines the service, or one is malformed
 */
export function findService(
  service: string,
  env: NodeJS.ProcessEnv,
): { file: string; parameters: ReadonlyMap<string, string> } {
  const given = env['PGSERVICEFILE']
  if (given !== undefined && !existsSync(given)) {
    throw new ConninfoError(`service file "${given}" not found`)
  }
  for (const file of [given ?? userFiles(env).service, ...systemServiceFiles(env)]) {
    const parameters = existsSync(file) ? readService(file, service) : null
    if (parameters !== null) return { file, parameters }
  }
  throw new ConninfoError(`definition of service "${service}" not found`)
}

function readService(file: string, service: string): Map<string, string> | null {
  let found: Map<string, string> | null = null
  for (const [index, text] of readLines(file).entries()) {
    if (Buffer.byteLength(text) + 1 >= LINE_BYTES - 1) {
      throw new ConninfoError(`line ${index + 1} too long in service file "${file}"`)
    }
    const line = text.replace(/^[ \t\v\f\r]+|[ \t\v\f\r]+$/g, '')
    if (line === '' || line.startsWith('#')) continue
    if (line.startsWith('[')) {
      if (found !== null) return found
      if (line.startsWith(`[${service}]`)) found = new Map()
    } else if (found !== null) {
      readSetting(line, `in service file "${file}", line ${index + 1}`, found)
    }
  }
  return found
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n')
  } catch (cause) {
    throw new ConninfoError(`could not read service file "${file}"`, { cause })
  }
}

/** One `keyword=value`; the first of several wins. A line is never quoted: it may hold a password. */
function readSetting(line: string, at: string, found: Map<string, string>): void {
  if (line.startsWith('ldap:')) throw new ConninfoError(`LDAP is not supported ${at}`)
  const [, name = '', value = ''] = /^([^=]*)=(.*)$/s.exec(line) ?? []
  if (name === 'service') throw new ConninfoError(`nested service specifications not supported ${at}`)
  if (!isKeyword(name)) throw new ConninfoError(`syntax error ${at}`)
  if (!found.has(name)) found.set(name, value)
}
