/** A proxy in which the next COMMIT is lost on its way, or its answer. */
import type { Proxy } from './proxy.js'

/** What is lost of a COMMIT, and with it the connection. */
export type Lost =
  /** Its answer: it was carried out. */
  | 'the answer'
  /** The COMMIT itself: the server rolls back, for it is told that the connection is gone. */
  | 'the commit'
  /** The COMMIT itself, and the server is told nothing: its session still has the transaction open. */
  | 'the commit, half open'

/**
 * Loses the next COMMIT that passes. Once.
 *
 * @param onLost called as that happens, before anybody can connect again
 */
export function loseCommit(proxy: Proxy, lost: Lost, onLost: () => void = () => {}): void {
  let isOnItsWay = false
  proxy.onChunk = (direction, chunk, connection) => {
    const commits = direction === 'toServer' && chunk.includes('COMMIT')
    if (commits && lost === 'the answer') isOnItsWay = true
    const isLost = (commits && lost !== 'the answer') || (isOnItsWay && direction === 'toClient')
    if (!isLost) return chunk
    proxy.onChunk = null
    onLost()
    connection.cut(lost === 'the commit, half open' ? 'half open' : 'reset')
    return null
  }
}
