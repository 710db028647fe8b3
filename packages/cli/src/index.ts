export {
  Command,
  CommanderError,
  createProgram,
  InvalidArgumentError,
  Option,
  parseCount,
  parseListen,
  parseYaml,
} from './program.ts';
export { type ClientVersion, runVirtctl, virtctlProgram, type VirtctlIo } from './virtctl/index.ts';
export { terminalIo } from './virtctl/terminal-io.ts';
