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
