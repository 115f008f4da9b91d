/** The pages by topic. Each page of docs/ is in exactly one group; `checkNavigation` sees to it. */

const start = {
  text: 'Start',
  pages: {
    'opening-and-closing': 'Opening and closing',
    production: 'Before production',
    contents: 'All pages and examples',
  },
}

const guide = {
  text: 'Guide',
  pages: {
    transactions: 'Transactions',
    statements: 'Statements',
    'prepared-statements': 'Prepared statements',
    settlement: 'Settlement',
    waiting: 'Waiting',
    settings: 'Settings and roles',
    'durable-commits': 'Durable commits',
    notifications: 'Notifications',
    'worker-threads': 'Worker threads',
    leadership: 'Leadership',
    sandbox: 'Sandboxes for tests',
  },
}

const operations = {
  text: 'Operations',
  pages: {
    'losing-the-connection': 'Losing the connection',
    'who-holds-it': 'Who holds it?',
    check: 'Why does it not connect?',
    'errors-at-the-door': 'Errors at the door',
    'events-and-figures': 'Events and figures',
    timeline: 'A timeline',
    opentelemetry: 'OpenTelemetry',
    growing: 'Outgrowing one connection',
    faults: 'Faults',
    testing: 'Testing',
  },
}

const reference = {
  text: 'Reference',
  pages: {
    options: 'Options',
    errors: 'Errors',
    'connection-strings': 'Connection strings',
    changelog: 'Changes',
  },
}

const others = {
  text: 'Other libraries',
  pages: {
    comparison: 'Comparison',
    ecosystem: 'On a manager',
    pglite: 'PGlite',
    'moving-from-pg': 'Moving from pg',
    'moving-from-postgres-js': 'Moving from postgres.js',
    'moving-from-psycopg2-managed-connection': 'Moving from Python',
  },
}

export const groups = [start, guide, operations, reference, others]

/** Every page that was made is in the navigation, and the navigation has no other. */
export function checkNavigation(names) {
  const listed = groups.flatMap(({ pages }) => Object.keys(pages))
  const missing = names.filter((name) => !listed.includes(name))
  const gone = listed.filter((name) => !names.includes(name))
  if (missing.length + gone.length > 0) {
    throw new Error(
      `site/navigation.js lacks "${missing.join()}", and has "${gone.join()}", which is no page`,
    )
  }
}

export const sidebar = groups.map(({ text, pages }) => ({
  text,
  collapsed: false,
  items: Object.entries(pages).map(([name, title]) => ({ text: title, link: `/${name}` })),
}))

export const nav = [
  { text: 'Guide', link: '/opening-and-closing' },
  { text: 'Reference', link: '/options' },
  { text: 'API', link: '/api/', activeMatch: '/api/' },
]
