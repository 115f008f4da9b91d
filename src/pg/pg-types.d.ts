/** pg-types publishes no types for the file in which its own parsers are. */
declare module 'pg-types/lib/textParsers.js' {
  const textParsers: {
    /** Calls `register` with each type's OID and pg's own parser for it. */
    init(register: (oid: number, parser: (text: string) => unknown) => void): void
  }
  export default textParsers
}
