/** Makes elements. Texts become text nodes, never markup. */

export function make<K extends keyof HTMLElementTagNameMap>(
  name: K,
  ...content: (string | Node)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(name)
  element.append(...content)
  return element
}

export function byId<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T
}
