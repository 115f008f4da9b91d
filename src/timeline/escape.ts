/** Writes texts of others into a page, where nothing of them may become markup or script. */

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
  '\u2028': '&#8232;',
  '\u2029': '&#8233;',
}

/** Into an element, or into an attribute in quotation marks. */
export function escapeText(text: string): string {
  return text.replace(/[&<>"'\u2028\u2029]/g, (character) => ENTITIES[character]!)
}

/**
 * Into an element `<script type="application/json">`. Without `<` nothing in it can end the element or begin a comment;
 * the two line separators are written as escapes, because older readers of scripts end a line at them.
 */
export function escapeJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
