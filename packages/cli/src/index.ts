export { Command, CommanderError, createProgram, InvalidArgumentError, Option, parseCount, parseListen } from './program.ts';
