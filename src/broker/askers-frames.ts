/** Where the holder asked, without this library's own frames. */
export function askersFrames(): string {
  const frames = (new Error('acquired').stack ?? '').split('\n').slice(1)
  const own = new URL('..', import.meta.url)
  return frames.filter((frame) => !frame.includes(own.href) && !frame.includes(own.pathname)).join('\n')
}
