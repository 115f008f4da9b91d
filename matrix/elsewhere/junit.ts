/** Reads what became of tests from the only report that Node's rivals have in common: JUnit's XML. */
import type { TestRecord } from '../../test/support/record-reporter.js'

const CASE = /<testcase ([^>]*?)(?:\/>|>([^]*?)<\/testcase>)/g
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

/** @param reasons why tests are skipped, by name: the report does not say it */
export function readJUnit(xml: string, reasons: ReadonlyMap<string, string>): TestRecord[] {
  return [...xml.matchAll(CASE)].map(([, attributes = '', inside = '']) => {
    const name = decode(/\bname="([^"]*)"/.exec(attributes)?.[1] ?? '')
    if (/<(?:failure|error)\b/.test(inside)) return { name, outcome: 'failed' }
    if (!inside.includes('<skipped')) return { name, outcome: 'passed' }
    return { name, outcome: 'skipped', reason: reasons.get(name) ?? 'the test says so itself' }
  })
}

function decode(text: string): string {
  return text.replace(/&(?:#(x?)([0-9a-f]+)|(\w+));/gi, (whole, hex: string, code: string, name: string) =>
    name === undefined
      ? String.fromCodePoint(Number.parseInt(code, hex ? 16 : 10))
      : (ENTITIES[name] ?? whole),
  )
}
