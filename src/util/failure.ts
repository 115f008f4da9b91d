/** What something failed with. In a box, because anything may be thrown, null and undefined among it. */
export interface Failure {
  readonly reason: unknown
}
