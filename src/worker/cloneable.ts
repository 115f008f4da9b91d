/** Which values arrive in another thread as what they are here. */

/** What was found in values that travel. */
export interface Found {
  /** Buffers, which arrive as Uint8Array. */
  bytes: boolean
}

/** Neither an object nor a function nor a symbol, or a plain Date: needs no further look. */
export function isSimple(value: unknown): boolean {
  if (typeof value === 'object') return value === null || Object.getPrototypeOf(value) === Date.prototype
  return typeof value !== 'function' && typeof value !== 'symbol'
}

/** Whether a copy made for another thread is the same kind of thing all the way down. */
export function isCloneable(value: unknown, found: Found): boolean {
  if (isSimple(value)) return true
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === Array.prototype) return (value as unknown[]).every((item) => isCloneable(item, found))
  if (prototype === Buffer.prototype) {
    found.bytes = true
    return true
  }
  if (prototype !== Object.prototype && prototype !== null) return false
  return Object.values(value as object).every((item) => isCloneable(item, found))
}

/** What kind of thing a value is, as messages call it. */
export function className(value: unknown): string {
  if (typeof value !== 'object' || value === null) return typeof value
  const { constructor } = value as { constructor?: { name?: unknown } }
  return typeof constructor?.name === 'string' && constructor.name !== '' ? constructor.name : 'object'
}

/** Makes the Buffers that were, of what they arrived as. Changes arrays and objects in place. */
export function restoreBytes(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  if (Array.isArray(value)) for (let i = 0; i < value.length; i++) value[i] = restoreBytes(value[i])
  else if (value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype) {
    const members = value as Record<string, unknown>
    for (const name of Object.keys(members)) members[name] = restoreBytes(members[name])
  }
  return value
}

/** The bytes and no more: a small Buffer is a part of a larger piece of memory, all of which would be copied. */
export function ownBytes(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes)
}
