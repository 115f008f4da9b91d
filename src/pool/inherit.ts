/** Makes a class one of pg's pools for `instanceof`, without pg's machinery. */
import { EventEmitter } from 'node:events'
import { PoolOfPg } from './pg.js'

/**
 * Puts `face` into the prototype chain of pg's pool. What it would inherit there works on lists of clients that it
 * does not have, so each of those methods says so instead.
 */
export function inheritFromPg(face: { readonly prototype: object }): void {
  for (const name of machineryOfPg()) {
    if (name in face.prototype) continue
    const value = (): never => {
      throw new Error(`${name}() is the machinery of pg's own pool; a pool of one shared connection has none`)
    }
    Object.defineProperty(face.prototype, name, { value, configurable: true, writable: true })
  }
  Object.setPrototypeOf(face.prototype, PoolOfPg.prototype)
}

function machineryOfPg(): string[] {
  const names: string[] = []
  let prototype = PoolOfPg.prototype
  while (prototype !== EventEmitter.prototype && prototype !== Object.prototype) {
    names.push(...Object.getOwnPropertyNames(prototype))
    prototype = Object.getPrototypeOf(prototype) as object
  }
  return names
}
