import { defineConfig } from 'vitest/config';

// unit: pure or in-process. host: needs root, network namespaces, libvirt or QEMU. e2e: boots guests through the CLI.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['packages/*/src/**/*.test.ts', 'test/conformance/**/*.test.ts', 'test/perf/**/*.test.ts'],
          exclude: ['**/*.host.test.ts', '**/node_modules/**'],
          testTimeout: 20_000,
          // No module has state of its own, so the files of a worker can share one module graph: loading it for each of
          // 290 files took half of the run. A test that fails only in company has found hidden state.
          isolate: false,
          maxWorkers: '100%',
        },
      },
      {
        test: {
          name: 'host',
          include: ['packages/*/src/**/*.host.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
