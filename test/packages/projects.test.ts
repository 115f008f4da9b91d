/** Whatever project the package is installed into, it works there: each of these builds one and runs it. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, readFile, readdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after } from 'node:test'
import { promisify } from 'node:util'
import { readLinks } from '../support/documents.js'
import { install, pack } from '../support/packed.js'
import { pathOf } from '../support/root.js'
import { openSuite } from '../support/suite.js'
import { preparePlugAndPlay } from '../support/plug-and-play.js'
import { TemporaryFolder } from '../support/temporary-folder.js'

const run = promisify(execFile)
const { test, database } = await openSuite()
const options = { resources: false, timeout: 300_000 }

const PROGRAMS = pathOf('test/packages/projects/programs')
const PRINTED = { sum: 10, left: 'UncommittedTransactionError', failed: '42601', two: 2 }

const packed = await TemporaryFolder.make()
after(() => packed[Symbol.asyncDispose]())
const tarball = await pack(packed.path)

function tool(path: string): string {
  return pathOf(`test/packages/projects/node_modules/${path}`)
}

/** A project with the programs and the package in it. */
async function openProject(manifest: object): Promise<TemporaryFolder> {
  const project = await TemporaryFolder.make()
  await cp(PROGRAMS, project.path, { recursive: true })
  await writeFile(join(project.path, 'package.json'), JSON.stringify({ name: 'project', ...manifest }))
  await install(tarball, project.path)
  return project
}

/** Runs a command of node's in a project, and gives what it printed. */
async function runIn(
  project: TemporaryFolder,
  ...args: string[]
): Promise<{ stdout: string; stderr: string }> {
  const env = { ...process.env, CONNINFO: database.conninfo, NODE_OPTIONS: '' }
  return run(process.execPath, args, { cwd: project.path, env })
}

async function assertPrints(project: TemporaryFolder, ...args: string[]): Promise<void> {
  const { stdout, stderr } = await runIn(project, ...args)
  assert.deepEqual({ ...JSON.parse(stdout), stderr }, { ...PRINTED, stderr: '' })
}

const TYPESCRIPT = [
  { title: 'module commonjs', type: 'commonjs', args: ['--module', 'commonjs'] },
  { title: 'module node16, in a CommonJS project', type: 'commonjs', args: ['--module', 'node16'] },
  { title: 'module node16, in an ES project', type: 'module', args: ['--module', 'node16'] },
  { title: 'module nodenext, in a CommonJS project', type: 'commonjs', args: ['--module', 'nodenext'] },
]

for (const { title, type, args } of TYPESCRIPT) {
  test(`TypeScript with ${title}`, options, async () => {
    await using project = await openProject({ type })
    const common = [
      '--target',
      'es2022',
      '--strict',
      '--skipLibCheck',
      '--esModuleInterop',
      '--types',
      'node',
    ]
    await runIn(project, pathOf('node_modules/typescript/bin/tsc'), ...args, ...common, 'program.ts')
    await assertPrints(project, 'program.js')
  })
}

for (const type of ['commonjs', 'module']) {
  test(`tsx, type ${type}`, options, async () => {
    await using project = await openProject({ type })
    await assertPrints(project, tool('tsx/dist/cli.mjs'), 'program.ts')
  })
}

test('Jest with its defaults', options, async () => {
  await using project = await openProject({})
  const { stderr } = await runIn(project, tool('jest/bin/jest.js'), '--ci')
  assert.match(stderr, /Tests: +3 passed, 3 total/)
  assert.doesNotMatch(stderr, /did not exit|open handle/)
})

/** pg is CommonJS, and what it requires must be there in a bundle that is an ES module. */
const REQUIRE = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);"

test('esbuild, as CommonJS and as an ES module, all in one file, minified', options, async () => {
  await using project = await openProject({})
  const common = [
    'program.ts',
    '--bundle',
    '--platform=node',
    '--external:pg-native',
    '--minify',
    '--keep-names',
  ]
  const esbuild = tool('esbuild/bin/esbuild')
  await run(esbuild, [...common, '--outfile=bundle.cjs'], { cwd: project.path })
  await run(esbuild, [...common, '--format=esm', `--banner:js=${REQUIRE}`, '--outfile=bundle.mjs'], {
    cwd: project.path,
  })
  await assertPrints(project, 'bundle.cjs')
  await assertPrints(project, 'bundle.mjs')
})

/** What is left to the user: the compiler's work is TypeScript's, so these begin where it has ended. */
async function openCompiled(): Promise<TemporaryFolder> {
  const project = await openProject({ type: 'module' })
  const args = [
    '--module',
    'esnext',
    '--moduleResolution',
    'bundler',
    '--target',
    'es2022',
    '--types',
    'node',
    '--skipLibCheck',
  ]
  await runIn(project, pathOf('node_modules/typescript/bin/tsc'), ...args, 'program.ts')
  return project
}

async function writeModule(project: TemporaryFolder, name: string, text: string): Promise<void> {
  await writeFile(join(project.path, name), text)
}

test('webpack, all in one file, minified', options, async () => {
  await using project = await openCompiled()
  const config = {
    mode: 'production',
    target: 'node',
    context: project.path,
    entry: './program.js',
    externals: { 'pg-native': 'commonjs pg-native' },
    output: { path: project.path, filename: 'bundle.cjs' },
  }
  await writeModule(
    project,
    'build.cjs',
    `require(${JSON.stringify(tool('webpack/lib/index.js'))})(${JSON.stringify(config)}, (error, stats) => {
      if (error ?? stats.hasErrors()) throw error ?? new Error(stats.toString())
    })`,
  )
  await runIn(project, 'build.cjs')
  await assertPrints(project, 'bundle.cjs')
})

test('rollup, all in one file', options, async () => {
  await using project = await openCompiled()
  const plugin = (name: string): string => JSON.stringify(tool(`@rollup/plugin-${name}/dist/es/index.js`))
  await writeModule(
    project,
    'build.mjs',
    `import { rollup } from ${JSON.stringify(tool('rollup/dist/es/rollup.js'))}
    import commonjs from ${plugin('commonjs')}
    import json from ${plugin('json')}
    import resolve from ${plugin('node-resolve')}
    const plugins = [resolve({ preferBuiltins: true }), commonjs({ ignore: ['pg-native'] }), json()]
    const build = await rollup({ input: 'program.js', plugins, onwarn: () => {} })
    await build.write({ file: 'bundle.mjs', format: 'es' })`,
  )
  await runIn(project, 'build.mjs')
  await assertPrints(project, 'bundle.mjs')
})

test('vite, for a server, with the package in the bundle and beside it', options, async () => {
  await using project = await openCompiled()
  for (const noExternal of [false, true]) {
    const outDir = `out-${noExternal}`
    const config = {
      root: project.path,
      logLevel: 'error',
      build: { ssr: 'program.js', outDir },
      ssr: { noExternal: noExternal ? ['pg-managed-connection'] : [] },
    }
    await writeModule(
      project,
      'build.mjs',
      `import { build } from ${JSON.stringify(tool('vite/dist/node/index.js'))}
      await build(${JSON.stringify(config)})`,
    )
    await runIn(project, 'build.mjs')
    await assertPrints(project, `${outDir}/program.js`)
  }
})

test('yarn with Plug and Play, which has no node_modules', options, async () => {
  await using project = await TemporaryFolder.make()
  await cp(PROGRAMS, project.path, { recursive: true })
  await preparePlugAndPlay(project.path, tarball)
  const yarn = tool('@yarnpkg/cli-dist/bin/yarn.js')
  await runIn(project, yarn, 'install', '--no-immutable')
  const { stdout } = await runIn(project, yarn, 'node', 'mixed.mjs')
  assert.deepEqual(JSON.parse(stdout), MIXED)
})

const MIXED = { same: true, code: '22012', left: true, answer: 42 }

test('a process that imports and requires it has one library', options, async () => {
  await using project = await openProject({})
  const { stdout, stderr } = await runIn(project, 'mixed.mjs')
  assert.deepEqual({ ...JSON.parse(stdout), stderr }, { ...MIXED, stderr: '' })
})

test(
  'a fresh clone packs what it builds, with links that hold elsewhere, and stays as it was',
  options,
  async () => {
    await using folder = await TemporaryFolder.make()
    const clone = join(folder.path, 'clone')
    await run('git', ['clone', '--quiet', '--depth=1', `file://${pathOf()}`, clone])
    await symlink(pathOf('node_modules'), join(clone, 'node_modules'))
    await run('npm', ['pack', '--silent', '--offline', '--pack-destination', folder.path], { cwd: clone })
    const [name] = (await readdir(folder.path)).filter((file) => file.endsWith('.tgz'))
    await run('tar', ['-xzf', name!], { cwd: folder.path })
    for (const path of [
      'index.js',
      'index.mjs',
      'index.d.mts',
      'package.json',
      'timeline/page-source.js',
      'cli/main.js',
    ]) {
      assert.ok(existsSync(join(folder.path, 'package/dist', path)), path)
    }
    const packed = (path: string): Promise<string> => readFile(join(folder.path, 'package', path), 'utf8')
    const links = readLinks(await packed('README.md'))
    assert.ok(links.length > 30)
    assert.deepEqual(links.filter(isRelative), [])
    for (const page of await readdir(join(folder.path, 'package/docs'))) {
      const relative = readLinks(await packed(`docs/${page}`)).filter(isRelative)
      const paths = relative.map((link) => join('package/docs', link.replace(/#.*/, '')))
      assert.deepEqual(
        paths.filter((path) => !existsSync(join(folder.path, path))),
        [],
        page,
      )
    }
    // npm warns of a package with a script that it would run where it is installed from git.
    assert.ok(!('scripts' in (JSON.parse(await packed('package.json')) as object)))
    const { stdout } = await run('git', ['status', '--short', '--', 'README.md', 'docs', 'package.json'], {
      cwd: clone,
    })
    assert.equal(stdout, '')
  },
)

function isRelative(link: string): boolean {
  return !link.startsWith('https://') && !link.startsWith('#')
}
