/** A promise with its own `resolve`. */
export class Deferred {
  resolve!: () => void
  readonly promise = new Promise<void>((resolve) => {
    this.resolve = resolve
  })
}
