/** Numbers of libvirt's RPC (remote_protocol.x, qemu_protocol.x, virnetprotocol.x); append-only across releases. */

export const PROGRAM = { remote: 0x20008086, qemu: 0x20008087, keepalive: 0x6b656570 } as const;
export const MESSAGE_TYPE = { call: 0, reply: 1, event: 2, stream: 3, streamHole: 6 } as const;
export const MESSAGE_STATUS = { ok: 0, error: 1, continue: 2 } as const;
export const KEEPALIVE = { ping: 1, pong: 2 } as const;

/** Length word and header of six words. */
export const HEADER_BYTES = 28;
/** libvirt's longest text has 4 MiB; pictures come in pieces. */
export const MAX_MESSAGE_BYTES = 8 * 1024 * 1024;

export const REMOTE = {
  connectOpen: 1,
  connectClose: 2,
  connectGetCapabilities: 7,
  domainCreate: 9,
  domainDefineXml: 11,
  domainDestroy: 12,
  domainGetXmlDesc: 14,
  domainLookupByName: 23,
  domainReboot: 27,
  domainResume: 28,
  domainSuspend: 34,
  authList: 66,
  connectGetLibVersion: 157,
  domainMemoryStats: 159,
  domainAbortJob: 164,
  domainMigrateSetMaxDowntime: 166,
  attachDeviceFlags: 160,
  detachDeviceFlags: 161,
  updateDeviceFlags: 174,
  domainSnapshotCreateXml: 185,
  domainCreateWithFlags: 196,
  setVcpusFlags: 199,
  setMemoryFlags: 204,
  domainScreenshot: 211,
  domainGetState: 212,
  sendKey: 226,
  domainUndefineFlags: 231,
  domainSaveFlags: 232,
  domainRestoreFlags: 233,
  domainSaveImageGetXmlDesc: 235,
  domainDestroyFlags: 234,
  blockJobAbort: 237,
  getBlockJobInfo: 238,
  domainReset: 245,
  blockResize: 251,
  domainShutdownFlags: 258,
  connectListAllDomains: 273,
  domainGetJobStats: 298,
  domainMigratePerform3Params: 305,
  domainEventCallbackRegisterAny: 316,
  domainCoreDumpWithFormat: 334,
  fsFreeze: 335,
  fsThaw: 336,
  getDomainCapabilities: 342,
  getAllDomainStats: 344,
  domainBlockCopy: 345,
  getFsInfo: 349,
  domainDefineXmlFlags: 350,
  interfaceAddresses: 353,
  domainAddIoThread: 355,
  domainDelIoThread: 356,
  setUserPassword: 357,
  domainMigrateStartPostCopy: 364,
  getGuestInfo: 418,
  agentSetResponseTimeout: 420,
} as const;

export const QEMU = { monitorCommand: 1, agentCommand: 3 } as const;

/** Event ids to register for, and the procedure by which each event arrives. */
export const EVENT = {
  lifecycle: { id: 0, procedure: 318 },
  reboot: { id: 1, procedure: 319 },
  watchdog: { id: 3, procedure: 321 },
  ioErrorReason: { id: 6, procedure: 324 },
  deviceRemoved: { id: 15, procedure: 333 },
  agentLifecycle: { id: 18, procedure: 348 },
  deviceAdded: { id: 19, procedure: 354 },
  deviceRemovalFailed: { id: 22, procedure: 367 },
  memoryDeviceSizeChange: { id: 26, procedure: 438 },
} as const;

/** virDomainState. */
export const DOMAIN_STATE = {
  noState: 0,
  running: 1,
  blocked: 2,
  paused: 3,
  shutdown: 4,
  shutoff: 5,
  crashed: 6,
  pmSuspended: 7,
} as const;

/** virDomainEventType of the lifecycle event. */
export const LIFECYCLE = {
  defined: 0,
  undefined: 1,
  started: 2,
  suspended: 3,
  resumed: 4,
  stopped: 5,
  shutdown: 6,
  pmSuspended: 7,
  crashed: 8,
} as const;

/** virDomainPausedReason, as far as anybody asks. */
export const PAUSED_REASON = { user: 1, migration: 2, ioError: 5, startingUp: 11, postCopy: 12, postCopyFailed: 13 } as const;

/** virDomainShutoffReason: the guest goes on elsewhere. */
export const SHUTOFF_MIGRATED = 4;

/** virDomainEventSuspendedDetailType. */
export const SUSPENDED = { paused: 0, migrated: 1, ioError: 2, postCopy: 7, postCopyFailed: 8 } as const;

/** virDomainEventStoppedDetailType. */
export const STOPPED = { shutdown: 0, destroyed: 1, crashed: 2, migrated: 3, saved: 4, failed: 5, fromSnapshot: 6 } as const;

/** virDomainEventWatchdogAction, as far as anybody asks. */
export const WATCHDOG_POWEROFF = 3;

/** virErrorNumber values that callers tell apart. */
export const ERROR_CODE = { internal: 1, noDomain: 42, operationInvalid: 55, agentUnresponsive: 86, agentUnsynced: 97 } as const;
