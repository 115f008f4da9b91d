/** What a promise is rejected with, whatever that is. Fails where it is fulfilled. */
export async function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  const fulfilled = {}
  const outcome = await promise.then(
    () => fulfilled,
    (error: unknown) => error,
  )
  if (outcome === fulfilled) throw new Error('it was fulfilled')
  return outcome
}
