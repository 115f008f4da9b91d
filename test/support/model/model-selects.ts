/** What the model's sessions answer to the SELECTs that the library and the programs send. */
import type { ModelSession } from './model-session.js'

/** The types of columns, by their OIDs. */
const BOOL = 16
const INT4 = 23
const TEXT = 25
const FLOAT8 = 701

export interface Column {
  readonly name: string
  readonly type: number
}

interface Select {
  readonly pattern: RegExp
  readonly columns: readonly Column[]
  answer(session: ModelSession, values: readonly string[], text: string): readonly (string | null)[] | null
}

const text = (name: string): Column => ({ name, type: TEXT })
const bool = (name: string): Column => ({ name, type: BOOL })
const int4 = (name: string): Column => ({ name, type: INT4 })

const SELECTS: readonly Select[] = [
  // What the programs send.
  {
    pattern: /^SELECT coalesce/,
    columns: [text('mark')],
    answer: (session) => [session.mark],
  },
  {
    pattern: /^SELECT set_config/,
    columns: [text('set_config')],
    answer: (session, [mark = '']) => [(session.mark = mark)],
  },
  {
    pattern: /^SELECT \d/,
    columns: [text('?column?')],
    answer: (_session, _values, sent) => [/\d+/.exec(sent)![0]],
  },
  // The checks before the first transaction that is grouped, or verified.
  {
    pattern: /pg_is_in_recovery\(\) IS NULL/,
    columns: [text('case')],
    answer: () => [null],
  },
  {
    pattern: /^SELECT pg_catalog.pg_is_in_recovery\(\)$/,
    columns: [bool('pg_is_in_recovery')],
    answer: () => ['f'],
  },
  {
    pattern: /pg_control_system/,
    columns: [
      bool('recovering'),
      text('system'),
      text('timeline'),
      text('statsReset'),
      int4('processID'),
      text('startedAt'),
      { name: 'time', type: FLOAT8 },
      bool('readOnly'),
    ],
    answer: ({ processID, database }) => {
      const process = String(processID)
      return ['f', '1', '00000001', String(database.statsReset), process, process, '0', 'f']
    },
  },
  {
    pattern: /^SELECT pg_catalog.pg_backend_pid\(\) AS "processID"$/,
    columns: [int4('processID')],
    answer: ({ processID }) => [String(processID)],
  },
  {
    pattern: /pg_xact_status\(NULL\)/,
    columns: [text('pg_xact_status'), text('pg_current_xact_id_if_assigned')],
    answer: () => [null, null],
  },
  {
    pattern: /FROM pg_catalog.pg_class/,
    columns: [text('name'), ...['ordinary', 'permanent', 'secured', 'unique', 'insertable'].map(bool)],
    answer: () => ['receipts', 't', 't', 'f', 't', 't'],
  },
  // What a COMMIT is made durable and found out about with.
  {
    pattern: /pg_logical_emit_message\(true/,
    columns: [text('set_config'), text('pg_logical_emit_message')],
    answer: (session) => {
      session.write()
      return ['warning', '0/0']
    },
  },
  {
    pattern: /^SELECT pg_catalog.pg_current_xact_id\(\)/,
    columns: [text('answer')],
    answer: (session) => {
      session.write()
      return [String(session.transactionID)]
    },
  },
  {
    pattern: /^SELECT pg_catalog.pg_current_xact_id_if_assigned/,
    columns: [text('answer')],
    answer: ({ transactionID }) => [transactionID === null ? null : String(transactionID)],
  },
  {
    pattern: /^SELECT pg_catalog.pg_xact_status\(\$1/,
    columns: [text('status')],
    answer: ({ database, fail }, [id = '']) => [
      database.statusOf(Number(id)) ?? fail('22023', `transaction ID ${id} is in the future`),
    ],
  },
  {
    pattern: /^SELECT pg_catalog.pg_terminate_backend/,
    columns: [bool('pg_terminate_backend')],
    answer: ({ database }, [processID = '', startedAt = '', id]) => {
      const found = [...database.sessions].find(
        (one) =>
          String(one.processID) === processID &&
          startedAt === processID &&
          (id === undefined || String(one.transactionID) === id),
      )
      found?.kill()
      return found === undefined ? null : ['t']
    },
  },
]

export function selectOf(sent: string): Select | undefined {
  return SELECTS.find(({ pattern }) => pattern.test(sent))
}
