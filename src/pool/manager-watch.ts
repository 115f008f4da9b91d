/** What the manager tells of its connection, where it tells anything: only an EventEmitter does. */
import type { Manager, NoticeEvent, RollbackEvent } from '../index.js'

/** The events that the pool face listens to. */
export interface ManagerListeners {
  disconnect(error?: Error): void
  notice(notice: NoticeEvent): void
  rollback(event: RollbackEvent): void
}

interface Emitter {
  on(event: string, listener: (...args: never[]) => void): unknown
  off(event: string, listener: (...args: never[]) => void): unknown
}

/** Listens until the function that it returns is called. */
export function watchManager(manager: Manager, listeners: ManagerListeners): () => void {
  if (!isEmitter(manager)) return () => {}
  const { disconnect, notice, rollback } = listeners
  const all = Object.entries({ disconnect, notice, rollback })
  for (const [event, listener] of all) manager.on(event, listener)
  return () => {
    for (const [event, listener] of all) manager.off(event, listener)
  }
}

function isEmitter(manager: object): manager is Emitter {
  const { on, off } = manager as Partial<Emitter>
  return typeof on === 'function' && typeof off === 'function'
}
