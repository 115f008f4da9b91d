/** Time for each attempt when `connect_timeout` does not say: libpq would wait for as long as the system does. */
export const ATTEMPT_MILLIS = 10_000

/** Time for all attempts together, whatever `connect_timeout` says. */
export const OPENING_MILLIS = 60_000

/** Time for the questions to the server. */
export const QUESTIONS_MILLIS = 10_000

/** Time for saying good-bye to the server. */
export const FAREWELL_MILLIS = 1_000
