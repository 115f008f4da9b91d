/** Reads links and headings of Markdown files. */

const FENCE = /^[ \t]*```[^]*?^[ \t]*```[ \t]*$/gm

/** Where the links and images of a page lead, outside of code. */
export function readLinks(text: string): string[] {
  const prose = text.replace(FENCE, '').replace(/`[^`\n]+`/g, 'code')
  return [...prose.matchAll(/\]\(([^()\s]+)\)/g)].map(([, link = '']) => link)
}

/** The anchors of a page's headings, as GitHub makes them. */
export function readAnchors(text: string): Set<string> {
  const anchors = new Set<string>()
  for (const [, heading = ''] of text.replace(FENCE, '').matchAll(/^#{1,6} +(.+?) *$/gm)) {
    const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    const anchor = plain
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\p{M}_ -]/gu, '')
      .replaceAll(' ', '-')
    let unique = anchor
    for (let n = 1; anchors.has(unique); n++) unique = `${anchor}-${n}`
    anchors.add(unique)
  }
  return anchors
}
