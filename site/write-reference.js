/** Makes pages of the comments of everything that the package exports. A warning of TypeDoc is an error. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Application } from 'typedoc'
import { manifest, PAGES, REPOSITORY, ROOT } from './places.js'

/** Names of parameters and of type arguments, which nobody has to name. */
const NOT_EXPORTED = [
  'AcquireTimeoutFacts',
  'AnyRow',
  'AnyValues',
  'GivenConninfo',
  'Outcome',
  'SPANS',
  'Work',
]

/** The sources of what package.json exports: `./pool` is `src/pool/index.ts`. */
function entryPoints() {
  return Object.keys(manifest.exports)
    .filter((name) => !name.endsWith('.json'))
    .map((name) => join(ROOT, 'src', name, 'index.ts'))
}

/** Writes the pages to `api/`. */
export async function writeReference() {
  const out = join(PAGES, 'api')
  const app = await Application.bootstrapWithPlugins({
    name: 'API',
    entryPoints: entryPoints(),
    tsconfig: join(ROOT, 'tsconfig.json'),
    basePath: ROOT,
    plugin: ['typedoc-plugin-markdown'],
    readme: 'none',
    logLevel: 'Warn',
    // `make build` looks for errors in types.
    skipErrorChecking: true,
    excludeExternals: true,
    excludeInternal: true,
    excludePrivate: true,
    excludeProtected: true,
    disableGit: true,
    // The paths are relative to what all entry points have in common.
    sourceLinkTemplate: `${REPOSITORY}/blob/main/src/{path}#L{line}`,
    intentionallyNotExported: NOT_EXPORTED,
    sort: ['source-order'],
    out,
    entryFileName: 'index',
    entryModule: manifest.name,
    hideBreadcrumbs: true,
    hidePageHeader: true,
    useCodeBlocks: true,
    parametersFormat: 'table',
    indexFormat: 'table',
    sanitizeComments: true,
    pageTitleTemplates: { index: 'API', module: ({ name }) => name },
  })
  const project = await app.convert()
  if (project !== undefined) {
    app.validate(project)
    await app.generateOutputs(project)
  }
  const { errorCount, warningCount } = app.logger
  if (errorCount + warningCount > 0) throw new Error('the comments are not as TypeDoc wants them: see above')
  const index = join(out, 'index.md')
  writeFileSync(index, readFileSync(index, 'utf8') + listOthers(project))
  for (const page of readdirSync(out, { recursive: true }).filter((name) => name.endsWith('.md'))) {
    const text = readFileSync(join(out, page), 'utf8')
    writeFileSync(join(out, page), withoutAncestors(text))
  }
}

/** Where the other entry points are, which TypeDoc's index leaves out. */
function listOthers({ children }) {
  const others = children.filter(({ name }) => name !== manifest.name)
  const rows = others.map(
    ({ name, comment }) => `| [${name}](${name}/index.md) | ${firstSentence(comment)} |`,
  )
  return ['', '## Other entry points', '', '| Module | Description |', '| --- | --- |', ...rows, ''].join(
    '\n',
  )
}

function firstSentence(comment) {
  const text = comment?.summary.map((part) => part.text).join('') ?? ''
  return text.split(/\n\n/)[0].replaceAll('\n', ' ')
}

/** From which internal class something comes is of no use to a reader: one that has no page is left out. */
function withoutAncestors(text) {
  return text
    .replace(/^#{2,6} (?:Inherited from|Overrides|Implementation of)\n\n[^\n]+\n\n?/gm, '')
    .replace(/^## Extends\n\n- `[^`]+`\n\n/gm, '')
}
