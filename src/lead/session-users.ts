/** Those who use the session between turns: subscribers, and who leads. While there are any, it is kept. */
import { Subscriptions } from '../listen/subscriptions.js'
import { keepLocks } from './lock.js'
import { Leaders } from './leaders.js'
import type { SessionOwner } from '../listen/session-owner.js'
import type { ResolvedOptions } from '../options.js'

export class SessionUsers {
  readonly subscriptions: Subscriptions
  readonly leaders: Leaders

  constructor(host: SessionOwner, options: ResolvedOptions) {
    this.subscriptions = new Subscriptions(host, options)
    this.leaders = new Leaders(host, options)
  }

  get present(): boolean {
    return this.subscriptions.size > 0 || this.leaders.present
  }

  /** The session is gone: lost, for this reason, or closed. */
  onSessionGone(lost: Error | undefined): void {
    this.leaders.onSessionGone(lost)
    this.subscriptions.onSessionGone()
  }

  /** The commands that reset the session for the next holder, and take nothing from who leads. */
  resetText(text: string): string {
    return keepLocks(text, this.leaders.names)
  }
}
