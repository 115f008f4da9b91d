/** What an object holds, whichever way it was made: by a literal, a class with getters, `Object.create`. */

/**
 * The members of an object of options: its own, those that it inherits, and those that a getter gives, each read
 * once. A method of a class goes on belonging to its object.
 *
 * @param isKnown whether a name is looked for; one of these counts even where it is hidden (pg hides passwords and
 * keys in the objects that it is given), or is a method
 * @returns the values by their names, the object's own first
 * @throws what a getter throws
 */
export function readMembers(given: object, isKnown: (name: string) => boolean): Map<string, unknown> {
  const members = new Map<string, unknown>()
  for (const holder of inheritance(given)) {
    for (const name of Reflect.ownKeys(holder)) {
      if (typeof name !== 'string' || members.has(name)) continue
      if (isKnown(name) || isOpen(holder, name)) members.set(name, readMember(given, name, holder))
    }
  }
  return members
}

/** The object and what it inherits from, without what every object has. */
function* inheritance(given: object): Generator<object> {
  for (let holder: object | null = given; holder !== null; holder = Reflect.getPrototypeOf(holder)) {
    // Recognised by what it holds: an object of another realm has another Object.prototype.
    if (holder !== given && Object.hasOwn(holder, 'isPrototypeOf')) return
    yield holder
  }
}

/** Whether a member is meant to be read: it is no method of a class, and not hidden. */
function isOpen(holder: object, name: string): boolean {
  const described = Reflect.getOwnPropertyDescriptor(holder, name)
  return described !== undefined && (described.enumerable === true || described.get !== undefined)
}

function readMember(given: object, name: string, holder: object): unknown {
  const value: unknown = Reflect.get(given, name)
  return typeof value === 'function' && holder !== given ? (value.bind(given) as unknown) : value
}
