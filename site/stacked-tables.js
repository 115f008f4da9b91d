/**
 * Makes a wide table readable on a narrow screen, where style.css shows each row as a block: each cell is given the
 * name of its column.
 */

/** Beyond so many characters a row does not fit on the screen of a phone. */
const FITS = 60

/** A plugin of markdown-it. */
export function stackTables(md) {
  md.core.ruler.push('stack-tables', ({ tokens }) => {
    tokens.forEach((token, i) => {
      if (token.type === 'table_open') mark(token, tokens.slice(i + 1))
    })
  })
  // In place of VitePress' own rule, which writes no attributes but this one: a table that scrolls takes the focus.
  md.renderer.rules['table_open'] = (tokens, i, options, _env, renderer) => {
    tokens[i].attrSet('tabindex', '0')
    return renderer.renderToken(tokens, i, options)
  }
}

function mark(table, following) {
  const inside = following.slice(
    0,
    following.findIndex(({ type }) => type === 'table_close'),
  )
  const rows = []
  inside.forEach((token, i) => {
    if (token.type === 'tr_open') rows.push([])
    if (/^t[hd]_open$/.test(token.type)) rows.at(-1).push({ token, text: inside[i + 1]?.content ?? '' })
  })
  if (Math.max(...rows.map(widthOf)) <= FITS) return
  table.attrJoin('class', 'stacks')
  const [head = [], ...body] = rows
  for (const cell of body.flatMap((row) => row.map(({ token, text }, i) => ({ token, text, i })))) {
    // With two columns it is plain what the second is about.
    cell.token.attrSet('data-column', head.length > 2 ? plain(head[cell.i].text) : '')
    if (cell.text === '') cell.token.attrJoin('class', 'empty')
  }
}

function widthOf(row) {
  return row.reduce((sum, { text }) => sum + plain(text).length, 0)
}

function plain(text) {
  return text.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').replace(/[`*]/g, '')
}
