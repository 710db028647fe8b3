import type * as kubevirt from './generated/kubevirt.ts';

/** What the server may ask a node agent about one VMI; params are `VmiCallParams` and what is said below. */
export const NodeVerb = {
  /** Streams: raw bytes both ways. */
  console: 'console',
  /** Stream of RFB bytes; `preserveSession: true` refuses instead of displacing a session. */
  vnc: 'vnc',
  /**
   * Stream to `port` of the guest (`protocol` tcp or udp). A udp stream carries one datagram as a frame: its length as
   * two bytes, big-endian, then its bytes.
   */
  portforward: 'portforward',
  /** Stream of the usbredir protocol to a USB port of the guest that is free. */
  usbredir: 'usbredir',
  /** Calls that change the guest; the answer is an empty object. */
  pause: 'pause',
  unpause: 'unpause',
  /** `unfreezeTimeoutSeconds`: thaws by itself after that time; 0: never. */
  freeze: 'freeze',
  unfreeze: 'unfreeze',
  softreboot: 'softreboot',
  reset: 'reset',
  /** Writes the guest's memory over the content of the claim `claimName`; the answer comes when that is done. */
  memoryDump: 'memorydump',
  /** Writes memory and devices into the claim `claimName` and switches the guest off; the answer comes when that is done. */
  saveMemory: 'savememory',
  /** Calls that ask the guest agent; the answer is the object that the API returns. */
  guestosinfo: 'guestosinfo',
  userlist: 'userlist',
  filesystemlist: 'filesystemlist',
  /** Answers `GuestStats`; `agent: true` asks the guest's agent, too. */
  stats: 'stats',
  /** Answers `{ png: <base64> }`; `moveCursor: true` wakes the screen first. */
  vncScreenshot: 'vncscreenshot',
} as const;

/** Figures of a running guest. */
export interface GuestStats {
  /** libvirt's statistics by their names. */
  readonly domain: Readonly<Record<string, number | string | boolean>>;
  readonly filesystems: readonly kubevirt.VirtualMachineInstanceFileSystem[];
  /** libvirt's statistics of the job that moves the guest; absent while none does. */
  readonly job?: GuestStats['domain'];
  /** Load of the last 1, 5 and 15 minutes, of guests whose agent knows it. */
  readonly load?: readonly number[];
}

export interface VmiCallParams {
  readonly namespace: string;
  readonly name: string;
  /** Of the VMI: the agent refuses when another instance has taken the name. */
  readonly uid: string;
}

/** Streams of one pod; params are `PodCallParams` and what is said below. */
export const PodVerb = {
  /** The log as bytes. */
  log: 'pod-log',
  /** `command` in the pod's sandbox; `stdin`, `stdout`, `stderr`, `tty` as asked. The bytes are channel frames. */
  exec: 'pod-exec',
  /** The serial console of a launcher's guest, the output of a mover. The bytes are channel frames. */
  attach: 'pod-attach',
  /** Bytes of a TCP connection to `port` at the pod's address. */
  portForward: 'pod-portforward',
} as const;

export interface PodCallParams {
  readonly namespace: string;
  readonly pod: string;
  readonly podUid: string;
  readonly container: string;
}

/** What the server asks the exporter pod of a VirtualMachineExport; params are `ExportCallParams` and what is said below. */
export const ExportVerb = {
  /** Answers `{ sizeBytes }` of the disk in `claim`. */
  info: 'export-info',
  /** Stream of the disk in `claim` as raw bytes, `length` of them from `offset`. */
  read: 'export-read',
} as const;

export interface ExportCallParams {
  readonly podUid: string;
  readonly claim: string;
}

/** What the server asks the upload server pod of a claim; params are `UploadCallParams`. */
export const UploadVerb = {
  /** Stream to the pod's data mover, which speaks with the upload proxy. */
  stream: 'upload-stream',
} as const;

export interface UploadCallParams {
  readonly podUid: string;
}
