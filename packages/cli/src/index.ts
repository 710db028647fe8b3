export {
  Command,
  CommanderError,
  createProgram,
  InvalidArgumentError,
  isNode,
  LineCounter,
  Option,
  parseCount,
  parseListen,
  parseAllDocuments,
  parseYaml,
  withOutput,
  withTextOrJson,
  type YamlDocument,
} from './program.ts';
export { type ClientVersion, runVirtctl, virtctlProgram, type VirtctlIo } from './virtctl/index.ts';
export { terminalIo } from './virtctl/terminal-io.ts';
