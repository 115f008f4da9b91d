import { defineConfig, globalIgnores } from 'eslint/config'
import tseslint from 'typescript-eslint'

const useClock = 'Use src/util/clock.ts.'
const fakedGlobals = ['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate', 'queueMicrotask']
const fakedProperties = [
  ['performance', 'now'],
  ['Date', 'now'],
  ['process', 'nextTick'],
]

export default defineConfig(
  globalIgnores(['dist/', 'build/', 'node_modules/', 'bench/results/']),
  {
    files: ['**/*.ts', '**/*.js'],
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'prefer-const': 'error',
      'no-var': 'error',
    },
  },
  {
    files: ['**/*.ts'],
    plugins: { '@typescript-eslint': tseslint.plugin },
    languageOptions: {
      parser: tseslint.parser,
      parserOptions: {
        project: ['tsconfig.json', 'test/tsconfig.json'],
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
    },
  },
  {
    // node:test's own functions return promises that its runner awaits.
    files: ['test/**/*.ts', 'examples/**/*.ts'],
    rules: {
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafeCalls: [
            {
              from: 'package',
              package: 'node:test',
              name: ['test', 'it', 'describe', 'suite', 'before', 'after'],
            },
          ],
        },
      ],
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/cli/**'],
    rules: {
      'no-console': 'error',
      // Test runners put fakes in the place of these: src/util/clock.ts has them as they were at load.
      'no-restricted-globals': ['error', ...fakedGlobals.map((name) => ({ name, message: useClock }))],
      'no-restricted-properties': [
        'error',
        ...fakedProperties.map(([object, property]) => ({ object, property, message: useClock })),
      ],
    },
  },
  {
    files: ['src/util/clock.ts'],
    rules: { 'no-restricted-globals': 'off', 'no-restricted-properties': 'off' },
  },
)
