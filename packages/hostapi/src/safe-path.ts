import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';

// Linux: names a file without opening it; Node has no name for it
const O_PATH = 0o10000000;

/** An open file or directory that was reached without following a single link. */
export interface PinnedPath {
  /** A path that leads to exactly this file whatever becomes of its name; valid until `close`. */
  readonly path: string;
  readonly kind: 'file' | 'directory' | 'socket' | 'other';
  readonly close: () => void;
}

/**
 * Walks from a trusted root to a path that an unprivileged user may have shaped. Throws ELOOP or ENOTDIR when any part,
 * the last one included, is a symbolic link, and for `..`.
 */
export function openBeneath(root: string, relativePath: string): PinnedPath {
  const parts = relativePath.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw new Error(`Path "${relativePath}" leaves its root`);
  let fd = openSync(root, O_PATH | constants.O_DIRECTORY);
  try {
    for (const [index, part] of parts.entries()) {
      const directory = index < parts.length - 1 ? constants.O_DIRECTORY : 0;
      const next = openSync(`/proc/self/fd/${fd}/${part}`, O_PATH | constants.O_NOFOLLOW | directory);
      closeSync(fd);
      fd = next;
    }
    const stat = fstatSync(fd);
    // O_PATH opens the link itself instead of failing
    if (stat.isSymbolicLink()) throw Object.assign(new Error(`"${relativePath}" is a symbolic link`), { code: 'ELOOP' });
    const kind = stat.isFile() ? 'file' : stat.isDirectory() ? 'directory' : stat.isSocket() ? 'socket' : 'other';
    return { path: `/proc/self/fd/${fd}`, kind, close: closing(fd) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function closing(fd: number): () => void {
  let isOpen = true;
  return () => {
    if (isOpen) closeSync(fd);
    isOpen = false;
  };
}

/** Connects to a UNIX socket in a directory of another user; also free of the 107 byte limit of socket paths. */
export function connectBeneath(root: string, relativePath: string): Socket {
  const pinned = openBeneath(root, relativePath);
  if (pinned.kind !== 'socket') {
    pinned.close();
    throw Object.assign(new Error(`"${relativePath}" is not a socket`), { code: 'ENOTSOCK' });
  }
  const socket = createConnection({ path: pinned.path });
  socket.once('connect', pinned.close);
  socket.once('close', pinned.close);
  return socket;
}

/** Reads a regular file in a directory of another user; at most `maxBytes`. Throws when it is larger or not a file. */
export function readBeneath(root: string, relativePath: string, maxBytes: number): Buffer {
  const pinned = openBeneath(root, relativePath);
  try {
    if (pinned.kind !== 'file') throw new Error(`"${relativePath}" is not a file`);
    const fd = openSync(pinned.path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      if (fstatSync(fd).size > maxBytes) throw new Error(`"${relativePath}" is larger than ${maxBytes} bytes`);
      return readFileSync(fd);
    } finally {
      closeSync(fd);
    }
  } finally {
    pinned.close();
  }
}
