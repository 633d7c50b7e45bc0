import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Tests that start processes bind 127.N.0.1 and share two cores: a few at a time, each with its own deadline.
    testTimeout: 20_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    pool: 'forks',
    coverage: {
      provider: 'v8',
      include: ['ts/**/*.ts'],
      exclude: ['ts/**/*.d.ts'],
      reporter: ['json-summary'],
      reportsDirectory: 'coverage/ts'
    }
  }
})
