import { ConninfoError } from '../errors.js'
import { MASK } from './quote.js'

/** Behind text that is not UTF-8: half of a surrogate pair, which no proper text holds. */
const NOT_UNICODE = '\udc80'

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * A part of a connection URI with its `%XX` replaced. Spaces around the part are dropped, as libpq does it;
 * spaces inside must be percent-encoded. Tabs and line breaks are characters like any other.
 *
 * @param part what stands in the URI
 * @param shown how an error message quotes it
 * @returns the text; one with half a surrogate pair when the bytes are not UTF-8
 * @throws ConninfoError for a bad token, `%00` and inner spaces
 */
export function percentDecode(part: string, shown: string = MASK): string {
  const trimmed = trimSpaces(part)
  if (trimmed.includes(' ')) {
    throw new ConninfoError(`unexpected spaces found in "${shown}", use percent-encoded spaces (%20) instead`)
  }
  return trimmed.includes('%') ? decodeBytes(trimmed, shown) : trimmed
}

function trimSpaces(part: string): string {
  let start = 0
  let end = part.length
  while (part[start] === ' ') start++
  while (end > start && part[end - 1] === ' ') end--
  return part.slice(start, end)
}

function decodeBytes(part: string, shown: string): string {
  const pieces = part.split(/%([0-9A-Fa-f]{2})/)
  const bytes: Buffer[] = []
  for (const [index, piece] of pieces.entries()) {
    if (index % 2 === 0 && piece.includes('%')) {
      throw new ConninfoError(`invalid percent-encoded token: "${shown}"`)
    }
    if (index % 2 === 1 && piece === '00') {
      throw new ConninfoError(`forbidden value %00 in percent-encoded value: "${shown}"`)
    }
    bytes.push(Buffer.from(piece, index % 2 === 1 ? 'hex' : 'utf8'))
  }
  const all = Buffer.concat(bytes)
  try {
    return utf8.decode(all)
  } catch {
    return all.toString() + NOT_UNICODE
  }
}
