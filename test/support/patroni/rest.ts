/** Patroni's REST API: what a node knows of the cluster, and the wish for another primary. */

/** A member as Patroni tells of it. */
export interface Member {
  readonly name: string
  readonly role: string
  readonly state: string
  readonly timeline?: number
}

const ANSWER_MILLIS = 1_500
const SWITCHOVER_MILLIS = 60_000

/** The members, as the node at this port knows them; none where it does not answer. */
export async function membersKnownBy(restPort: number): Promise<readonly Member[]> {
  const answer = await fetch(`http://127.0.0.1:${restPort}/cluster`, {
    signal: AbortSignal.timeout(ANSWER_MILLIS),
  }).catch(() => undefined)
  if (answer?.ok !== true) return []
  const { members } = (await answer.json()) as { members?: readonly Member[] }
  return members ?? []
}

/** Whether the server at this port is the primary and holds the leader's lock, as its own Patroni says. */
export async function isPrimary(restPort: number): Promise<boolean> {
  const answer = await fetch(`http://127.0.0.1:${restPort}/primary`, {
    signal: AbortSignal.timeout(ANSWER_MILLIS),
  }).catch(() => undefined)
  await answer?.body?.cancel()
  return answer?.status === 200
}

/** Makes another node the primary, in order; resolves when it is. */
export async function switchOver(restPort: number, leader: string): Promise<void> {
  const answer = await fetch(`http://127.0.0.1:${restPort}/switchover`, {
    method: 'POST',
    body: JSON.stringify({ leader }),
    signal: AbortSignal.timeout(SWITCHOVER_MILLIS),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`Patroni refuses to switch over: ${answer.status} ${text}`)
}
