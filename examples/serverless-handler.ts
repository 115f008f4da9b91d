/**
 * What one would deploy: the connection is made outside of the handler and kept from one invocation to the next.
 * Between two of them the platform freezes the process: no timer fires, and the server or a firewall may hang up.
 */
import { ManagedConnection } from 'pg-managed-connection'

const manager = new ManagedConnection(process.env['DATABASE'], {
  // After a pause the connection is asked whether it lives, before the handler gets it.
  validateAfterIdleMillis: 500,
})

export async function handler(visitor: string): Promise<string> {
  const { rows } = await manager.query<{ greeting: string }>("SELECT 'hello, ' || $1 AS greeting", [visitor])
  return `${rows[0]!.greeting} (connection ${manager.stats.connects})`
}

// The rest is the platform's side of it: one invocation for each message, and one message for each answer.
export type Answer = { readonly greeting: string } | { readonly error: string }

function answer(message: Answer): void {
  process.send!(message)
}

process.on('message', (visitor: string) => {
  handler(visitor).then(
    (greeting) => answer({ greeting }),
    (error: unknown) => answer({ error: String(error) }),
  )
})
