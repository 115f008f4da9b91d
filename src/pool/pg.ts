/** What the pool face uses of pg itself, and what libraries ask of pg's classes. */
import { EventEmitter } from 'node:events'
import pg from '../pg/pg.js'

/** What all clients of a pool have in common. */
export class ClientShape extends EventEmitter {
  escapeIdentifier(name: string): string {
    return pg.escapeIdentifier(name)
  }

  escapeLiteral(text: string): string {
    return pg.escapeLiteral(text)
  }
}

/**
 * Makes a class one of pg's pools for `instanceof`, without pg's machinery. What it would inherit works on lists of
 * clients that it does not have, so each of those methods says so instead.
 */
export function inheritFromPg(face: { readonly prototype: object }): void {
  for (const name of machineryOfPg()) {
    if (name in face.prototype) continue
    const value = (): never => {
      throw new Error(`${name}() is the machinery of pg's own pool; a pool of one shared connection has none`)
    }
    Object.defineProperty(face.prototype, name, { value, configurable: true, writable: true })
  }
  Object.setPrototypeOf(face.prototype, pg.Pool.prototype)
}

/** The methods of pg's pool, which lie on its prototype and on the one behind it. */
function machineryOfPg(): string[] {
  const names: string[] = []
  let prototype: object = pg.Pool.prototype
  while (prototype !== EventEmitter.prototype && prototype !== Object.prototype) {
    names.push(...Object.getOwnPropertyNames(prototype))
    prototype = Object.getPrototypeOf(prototype) as object
  }
  return names
}
