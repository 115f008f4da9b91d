/** The settings that a client asks for when it connects, as PostgreSQL reads them. */

/** Not settings: PGlite has one user and one database. */
const NO_SETTINGS = new Set(['user', 'database', 'replication', 'options'])

/** All settings of a start-up packet, those in its `options` first. Throws for options that are no settings. */
export function startupSettings(given: ReadonlyMap<string, string>): [name: string, value: string][] {
  const others = [...given].filter(([name]) => !NO_SETTINGS.has(name) && !name.startsWith('_pq_.'))
  return [...readOptions(given.get('options') ?? ''), ...others]
}

/** `-c name=value` and `--name=value`; a backslash takes the next character as it is. */
function readOptions(text: string): [string, string][] {
  const words = text.match(/(?:\\.|[^\s\\])+/g)?.map((word) => word.replace(/\\(.)/g, '$1')) ?? []
  const settings: [string, string][] = []
  while (words.length > 0) {
    const word = words.shift()!
    const assignment = word === '-c' ? words.shift() : /^(?:-c|--)(.+)$/.exec(word)?.[1]
    const parts = /^([^=]+)=(.*)$/s.exec(assignment ?? '')
    if (parts === null) throw new Error(`PGlite takes settings only in "options" (-c name=value): ${word}`)
    settings.push([parts[1]!.replaceAll('-', '_'), parts[2]!])
  }
  return settings
}
