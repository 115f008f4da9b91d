/**
 * The settings and the role of a turn: checked, and as the server is told of them (manual, "SET", "SET ROLE" and
 * "System Administration Functions"). They end with the transaction that they are set in.
 */
import { isHarmlessSetting } from './meaning.js'

/** What a setting may be given as. */
export type SettingValue = string | number | boolean

/** Settings by their names in lower case, in the order in which they are set; then the role. */
export interface TurnSettings {
  readonly values: readonly (readonly [name: string, value: string])[]
  /** Null: the one that the session has. */
  readonly role: string | null
}

/** What is said of a turn in the options of a call. */
export interface GivenSettings {
  readonly settings?: Readonly<Record<string, SettingValue>> | undefined
  readonly role?: string | undefined
}

/** These are set in another way, or would undo what the library does. */
const REFUSED = new Map([
  ['role', 'give it as role'],
  ['session_authorization', 'connect as that user'],
  ['is_superuser', 'it tells what the role is'],
])

/** SET cuts what is longer, and would set another one. */
const NAME_BYTES = 63

/** In the place of a list these take one name; of all others SET takes the text as it is. */
const LISTS = new Set(['search_path', 'temp_tablespaces'])

const NAME = '(?:"(?:[^"]|"")*"|[^",\\s][^,\\s]*)'
const NAMES = new RegExp(NAME, 'g')
const LIST = new RegExp(`^\\s*(?:${NAME}(?:\\s*,\\s*${NAME})*)?\\s*$`)

/** Reads them. Null where there are none. Throws a TypeError that names what is wrong. */
export function readSettings({ settings, role }: GivenSettings): TurnSettings | null {
  if (settings === undefined && role === undefined) return null
  if (role !== undefined) checkRole(role)
  const values = new Map<string, string>()
  for (const [given, value] of settings === undefined ? [] : entriesOf(settings)) {
    const name = given.toLowerCase()
    checkSettingName(given)
    if (values.has(name)) throw new TypeError(`settings has "${given}" twice, for case does not matter`)
    const text = textOf(given, value)
    if (LISTS.has(name) && !LIST.test(text)) {
      throw new TypeError(`settings has "${given}", whose value is no list of names: ${show(text)}`)
    }
    values.set(name, text)
  }
  return values.size === 0 && role === undefined ? null : { values: [...values], role: role ?? null }
}

function entriesOf(settings: unknown): [string, unknown][] {
  // What a Map has is not among its properties, and would not be set.
  const isRecord = typeof settings === 'object' && settings !== null && !(Symbol.iterator in settings)
  if (!isRecord)
    throw new TypeError(`settings must be an object of names and values, but is ${show(settings)}`)
  // Inherited ones count as well, as with other options.
  const entries: [string, unknown][] = []
  for (const name in settings) entries.push([name, (settings as Record<string, unknown>)[name]])
  return entries
}

/** Throws a TypeError for what is no name of a setting, or of one that a turn may not have. */
export function checkSettingName(given: string): void {
  const name = given.toLowerCase()
  if (given.split('.').some((part) => part === '' || part.includes('\0') || isCut(part))) {
    throw new TypeError(`settings has "${given}", which is no name of a setting`)
  }
  const why = name.startsWith('transaction_') ? 'say it of the transaction itself' : REFUSED.get(name)
  if (why !== undefined) throw new TypeError(`settings must not have "${given}": ${why}`)
}

function isCut(part: string): boolean {
  return part.length * 3 > NAME_BYTES && Buffer.byteLength(part) > NAME_BYTES
}

function textOf(name: string, value: unknown): string {
  const isSettable = typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value))
  if (isSettable) return String(value)
  if (typeof value === 'string' && !value.includes('\0')) return value
  throw new TypeError(
    `settings must give "${name}" as a string, a number or a boolean, but it is ${show(value)}`,
  )
}

/** Throws a TypeError. */
function checkRole(role: unknown): void {
  if (typeof role === 'string' && role !== '' && !role.includes('\0')) return
  throw new TypeError(`role must be the name of a role, but is ${show(role)}`)
}

/** Both together, where what the call says wins. */
export function mergeSettings(general: TurnSettings | null, own: TurnSettings | null): TurnSettings | null {
  if (general === null || own === null) return own ?? general
  const values = new Map([...general.values, ...own.values])
  return { values: [...values], role: own.role ?? general.role }
}

/** Whether a setting of this name (in lower case) is among them. */
export function hasSetting(settings: TurnSettings | null, name: string): boolean {
  return settings !== null && settings.values.some(([known]) => known === name)
}

/** The commands that set them for the transaction that is open. */
export function localCommands({ values, role }: TurnSettings): string[] {
  const commands = values.map(([name, value]) => {
    const quoted = name.split('.').map(quoteName).join('.')
    return `SET LOCAL ${quoted} TO ${LISTS.has(name) ? namesIn(value).join(', ') : quoteText(value)}`
  })
  if (role !== null) commands.push(`SET LOCAL ROLE ${quoteText(role)}`)
  return commands
}

/** One statement that sets them for the transaction that it is in, and its values. It takes the transaction's snapshot. */
export function settingQuery({ values, role }: TurnSettings): { text: string; values: string[] } {
  const all = role === null ? values : [...values, ['role', role] as const]
  const calls = all.map((_, index) => `pg_catalog.set_config($${2 * index + 1}, $${2 * index + 2}, true)`)
  return { text: `SELECT ${calls.join(', ')}`, values: all.flat() }
}

/** What other texts mean under them, in one word: the same for settings that have the same say in it. */
export function meaningOf({ values, role }: TurnSettings): string {
  const meant = values.filter(([name]) => !isHarmlessSetting(name))
  return meant.length === 0 && role === null ? '' : JSON.stringify([meant, role])
}

/** A name may be cased as it was given; that of a setting is not, so that quotes change nothing. */
function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

function quoteText(value: string): string {
  const doubled = value.replaceAll("'", "''")
  // Backslashes mean themselves in both kinds of literal only so, whatever standard_conforming_strings says.
  return doubled.includes('\\') ? `E'${doubled.replaceAll('\\', '\\\\')}'` : `'${doubled}'`
}

/** The names in a list, as the server reads it: unquoted ones in lower case, quoted ones as they are. */
function namesIn(list: string): string[] {
  const names = (list.match(NAMES) ?? ['']).map((name) =>
    name.startsWith('"')
      ? name.slice(1, -1).replaceAll('""', '"')
      : name.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase()),
  )
  return names.map(quoteText)
}

function show(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : String(value)
}
