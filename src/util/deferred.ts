/** A promise with its own `resolve` and `reject`. */
export class Deferred {
  resolve!: () => void
  reject!: (error: Error) => void
  readonly promise = new Promise<void>((resolve, reject) => {
    this.resolve = resolve
    this.reject = reject
  })
}
