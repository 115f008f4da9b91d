/** Encodes what a server says, message by message (manual, "Message Formats"). */

/** A message of the backend: its letter, its length, and what follows. */
export function message(letter: string, ...parts: readonly (Buffer | string | number)[]): Buffer {
  const payload = Buffer.concat(parts.map(encode))
  const head = Buffer.alloc(5)
  head.write(letter, 'latin1')
  head.writeUInt32BE(payload.length + 4, 1)
  return Buffer.concat([head, payload])
}

/** Strings end with a zero byte; numbers are 32 bits wide. */
function encode(part: Buffer | string | number): Buffer {
  return typeof part === 'string' ? Buffer.from(`${part}\0`) : typeof part === 'number' ? int32(part) : part
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value | 0)
  return bytes
}

export function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16BE(value)
  return bytes
}

/** An error or a notice, by its fields. */
function fields(letter: 'E' | 'N', severity: string, code: string, text: string): Buffer {
  const all = { S: severity, V: severity, C: code, M: text }
  const parts = Object.entries(all).map(([name, value]) => Buffer.from(`${name}${value}\0`))
  return message(letter, ...parts, Buffer.of(0))
}

export const backend = {
  authenticationOk: message('R', 0),
  parameterStatus: (name: string, value: string) => message('S', name, value),
  backendKeyData: (processID: number, secret: number) => message('K', processID, secret),
  readyForQuery: (letter: string) => message('Z', Buffer.from(letter, 'latin1')),
  parseComplete: message('1'),
  bindComplete: message('2'),
  closeComplete: message('3'),
  noData: message('n'),
  emptyQuery: message('I'),
  commandComplete: (tag: string) => message('C', tag),
  error: (code: string, text: string, severity = 'ERROR') => fields('E', severity, code, text),
  notice: (code: string, text: string, severity = 'WARNING') => fields('N', severity, code, text),
  /** A column that is a name alone is of type text. */
  rowDescription: (columns: readonly (string | { readonly name: string; readonly type: number })[]) =>
    message(
      'T',
      int16(columns.length),
      ...columns
        .map((column) => (typeof column === 'string' ? { name: column, type: 25 } : column))
        .flatMap(({ name, type }): readonly (string | number | Buffer)[] => [
          name,
          0,
          int16(0),
          type,
          int16(-1),
          -1,
          int16(0),
        ]),
    ),
  dataRow: (values: readonly (string | null)[]) =>
    message(
      'D',
      int16(values.length),
      ...values.flatMap((value): readonly Buffer[] =>
        value === null ? [int32(-1)] : [int32(Buffer.byteLength(value)), Buffer.from(value)],
      ),
    ),
  notification: (processID: number, channel: string, payload: string) =>
    message('A', processID, channel, payload),
}
