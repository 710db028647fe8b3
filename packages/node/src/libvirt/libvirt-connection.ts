import { decodeEvent, type DomainEvent, type DomainRef, readDomain } from './domain-event.ts';
import { LibvirtCalls } from './libvirt-calls.ts';
import { type MigrateOptions, planMigrate } from './plan-migrate.ts';
import { EVENT, QEMU, REMOTE } from './protocol.ts';
import { RpcConnection } from './rpc-connection.ts';
import { readTypedParams, type TypedParam, writeTypedParams } from './typed-params.ts';
import type { XdrWriter } from './xdr.ts';

export interface LibvirtOptions {
  readonly socketPath: string;
  /** `qemu:///session` for an unprivileged daemon. */
  readonly uri: string;
  readonly onEvent?: (event: DomainEvent) => void;
}

/** State, processors in total, balloon, processors, interfaces, disks, dirty rate. */
const STATS = [1, 2, 4, 8, 16, 32, 512];
const ACTIVE = 1;
/** Migrations have limits of their own: those who start one abort it. */
const MIGRATION_TIMEOUT_MS = 2 ** 31 - 1;
/** Memory of a large guest, to a slow disk. */
const MEMORY_TIMEOUT_MS = 30 * 60_000;
const SCREENSHOT_BYTES = 32 * 1024 * 1024;

/** The calls that the node agent needs, typed; every one rejects with LibvirtError when libvirt refuses. */
export class LibvirtConnection {
  readonly closed: Promise<void>;
  private readonly rpc: RpcConnection;
  private readonly calls: LibvirtCalls;

  private constructor(rpc: RpcConnection) {
    this.rpc = rpc;
    this.calls = new LibvirtCalls(rpc);
    this.closed = rpc.closed;
  }

  /** Connects, authenticates (only `none` is accepted), opens the driver and registers for events. */
  static async open({ socketPath, uri, onEvent }: LibvirtOptions): Promise<LibvirtConnection> {
    const rpc = await RpcConnection.open(socketPath, (procedure, body) => {
      const event = decodeEvent(procedure, body);
      if (event) onEvent?.(event);
    });
    try {
      const connection = new LibvirtConnection(rpc);
      const { body } = await connection.calls.remote('AUTH_LIST', REMOTE.authList);
      if (!body.array(() => body.int()).includes(0)) throw new Error(`libvirt at ${socketPath} asks for a login`);
      await connection.calls.remote('CONNECT_OPEN', REMOTE.connectOpen, (args) => args.optionalString(uri).uint(0));
      if (onEvent) await Promise.all(Object.values(EVENT).map(({ id }) => connection.registerEvent(id)));
      return connection;
    } catch (error) {
      rpc.close();
      throw error;
    }
  }

  close(): void {
    this.rpc.close();
  }

  async libVersion(): Promise<string> {
    const { body } = await this.calls.remote('CONNECT_GET_LIB_VERSION', REMOTE.connectGetLibVersion);
    const version = Number(body.uhyper());
    return `${Math.floor(version / 1_000_000)}.${Math.floor(version / 1000) % 1000}.${version % 1000}`;
  }

  async capabilities(): Promise<string> {
    return (await this.calls.remote('CONNECT_GET_CAPABILITIES', REMOTE.connectGetCapabilities)).body.string();
  }

  /** Absent arguments mean the daemon's defaults. */
  async domainCapabilities(query: { emulator?: string; arch?: string; machine?: string; virtType?: string }): Promise<string> {
    const reply = await this.calls.remote('GET_DOMAIN_CAPABILITIES', REMOTE.getDomainCapabilities, (args) =>
      args
        .optionalString(query.emulator)
        .optionalString(query.arch)
        .optionalString(query.machine)
        .optionalString(query.virtType)
        .uint(0),
    );
    return reply.body.string();
  }

  async listDomains(): Promise<DomainRef[]> {
    const { body } = await this.calls.remote('LIST_ALL_DOMAINS', REMOTE.connectListAllDomains, (args) => args.int(1).uint(0));
    return body.array(() => readDomain(body));
  }

  async lookup(name: string): Promise<DomainRef> {
    return readDomain(
      (await this.calls.remote('DOMAIN_LOOKUP_BY_NAME', REMOTE.domainLookupByName, (args) => args.string(name))).body,
    );
  }

  async define(xml: string): Promise<DomainRef> {
    return readDomain(
      (await this.calls.remote('DOMAIN_DEFINE_XML', REMOTE.domainDefineXmlFlags, (args) => args.string(xml).uint(0))).body,
    );
  }

  /** Starts a defined domain; with `paused` its processors wait for `resume`. */
  async create(domain: DomainRef, options: { paused?: boolean } = {}): Promise<DomainRef> {
    const PAUSED = 1;
    const reply = await this.calls.onDomain('DOMAIN_CREATE', REMOTE.domainCreateWithFlags, domain, (args) =>
      args.uint(options.paused ? PAUSED : 0),
    );
    return readDomain(reply.body);
  }

  async state(domain: DomainRef): Promise<{ state: number; reason: number }> {
    const { body } = await this.calls.onDomain('DOMAIN_GET_STATE', REMOTE.domainGetState, domain, (args) => args.uint(0));
    return { state: body.int(), reason: body.int() };
  }

  /** With `migratable` as another daemon takes it. */
  async xml(domain: DomainRef, options: { migratable?: boolean } = {}): Promise<string> {
    const [SECURE, MIGRATABLE] = [1, 8];
    const flags = options.migratable ? SECURE | MIGRATABLE : 0;
    const reply = await this.calls.onDomain('DOMAIN_GET_XML_DESC', REMOTE.domainGetXmlDesc, domain, (args) => args.uint(flags));
    return reply.body.string();
  }

  async destroy(domain: DomainRef): Promise<void> {
    await this.calls.onDomain('DOMAIN_DESTROY', REMOTE.domainDestroyFlags, domain, (args) => args.uint(0));
  }

  /** Forgets a domain that does not run, with its variable store unless `keepNvram`. */
  async undefine(domain: DomainRef, options: { keepNvram?: boolean } = {}): Promise<void> {
    const [NVRAM, KEEP_NVRAM] = [4, 8];
    await this.calls.onDomain('DOMAIN_UNDEFINE', REMOTE.domainUndefineFlags, domain, (args) =>
      args.uint(options.keepNvram ? KEEP_NVRAM : NVRAM),
    );
  }

  /** Presses the power button (ACPI), or asks the guest agent. */
  async shutdown(domain: DomainRef, by: 'acpi' | 'agent'): Promise<void> {
    const FLAGS = { acpi: 1, agent: 2 };
    await this.calls.onDomain('DOMAIN_SHUTDOWN', REMOTE.domainShutdownFlags, domain, (args) => args.uint(FLAGS[by]));
  }

  async reboot(domain: DomainRef, by: 'acpi' | 'agent'): Promise<void> {
    const FLAGS = { acpi: 1, agent: 2 };
    await this.calls.onDomain('DOMAIN_REBOOT', REMOTE.domainReboot, domain, (args) => args.uint(FLAGS[by]));
  }

  async reset(domain: DomainRef): Promise<void> {
    await this.calls.onDomain('DOMAIN_RESET', REMOTE.domainReset, domain, (args) => args.uint(0));
  }

  /** Writes the guest's memory as an ELF core to a file that exists already; the guest stands still meanwhile. */
  async dumpMemory(domain: DomainRef, path: string): Promise<void> {
    const [ELF, MEMORY_ONLY] = [0, 16];
    await this.calls.onDomain('DOMAIN_CORE_DUMP', REMOTE.domainCoreDumpWithFormat, domain, (args) =>
      args.string(path).uint(ELF).uint(MEMORY_ONLY),
    );
  }

  /** Writes memory and devices of the guest to a file that exists already; when this resolves the guest is off. */
  async save(domain: DomainRef, path: string): Promise<void> {
    const RUNNING = 2;
    await this.calls.onDomain(
      'DOMAIN_SAVE',
      REMOTE.domainSaveFlags,
      domain,
      (args) => args.string(path).optionalString(undefined).uint(RUNNING),
      { timeoutMs: MEMORY_TIMEOUT_MS },
    );
  }

  /** The domain as a file of `save` holds it. */
  async savedXml(path: string): Promise<string> {
    const write = (args: XdrWriter): XdrWriter => args.string(path).uint(0);
    return (await this.calls.remote('DOMAIN_SAVE_IMAGE_GET_XML_DESC', REMOTE.domainSaveImageGetXmlDesc, write)).body.string();
  }

  /** Goes on where `save` stopped, as this document says; the processors wait for `resume`. The file stays as it is. */
  async restorePaused(path: string, xml: string): Promise<void> {
    const PAUSED = 4;
    await this.calls.remote(
      'DOMAIN_RESTORE',
      REMOTE.domainRestoreFlags,
      (args) => args.string(path).optionalString(xml).uint(PAUSED),
      { timeoutMs: MEMORY_TIMEOUT_MS },
    );
  }

  /**
   * Moves the guest to another daemon, which holds it paused; resolves when that has the whole guest and this one has let
   * it go, or both would: callers decide on their own.
   */
  async migrate(domain: DomainRef, options: MigrateOptions): Promise<void> {
    const { params, flags } = planMigrate(options);
    await this.calls.onDomain(
      'MIGRATE_PERFORM',
      REMOTE.domainMigratePerform3Params,
      domain,
      (args) => writeTypedParams(args.optionalString(options.uri), params).uint(0).uint(flags),
      { timeoutMs: MIGRATION_TIMEOUT_MS },
    );
  }

  /** Numbers of the job that runs, by libvirt's names; empty when none does. */
  async jobStats(
    domain: DomainRef,
    options: { completed?: boolean } = {},
  ): Promise<ReadonlyMap<string, number | string | boolean>> {
    const [COMPLETED, KEEP] = [1, 2];
    const flags = options.completed ? COMPLETED | KEEP : 0;
    const { body } = await this.calls.onDomain('GET_JOB_STATS', REMOTE.domainGetJobStats, domain, (args) => args.uint(flags));
    const type = body.int();
    const stats = readTypedParams(body);
    return type === 0 ? new Map() : stats;
  }

  async abortJob(domain: DomainRef): Promise<void> {
    await this.calls.onDomain('ABORT_JOB', REMOTE.domainAbortJob, domain);
  }

  /** What libvirt counts of all running domains, as groups of typed parameters; with one daemon per guest there is one. */
  async domainStats(): Promise<readonly ReadonlyMap<string, number | string | boolean>[]> {
    const groups = STATS.reduce((mask, group) => mask | group, 0);
    const { body } = await this.calls.remote('GET_ALL_DOMAIN_STATS', REMOTE.getAllDomainStats, (args) =>
      args.uint(0).uint(groups).uint(0),
    );
    return body.array(() => {
      readDomain(body);
      return readTypedParams(body);
    });
  }

  /** How long the guest may stand still at the end of its migration. */
  async limitDowntime(domain: DomainRef, ms: number): Promise<void> {
    await this.calls.onDomain('MIGRATE_SET_MAX_DOWNTIME', REMOTE.domainMigrateSetMaxDowntime, domain, (args) =>
      args.hyper(BigInt(ms)).uint(0),
    );
  }

  /** The guest goes on at the target at once and fetches what it misses. */
  async startPostCopy(domain: DomainRef): Promise<void> {
    await this.calls.onDomain('MIGRATE_START_POST_COPY', REMOTE.domainMigrateStartPostCopy, domain, (args) => args.uint(0));
  }

  async suspend(domain: DomainRef): Promise<void> {
    await this.calls.onDomain('DOMAIN_SUSPEND', REMOTE.domainSuspend, domain);
  }

  async resume(domain: DomainRef): Promise<void> {
    await this.calls.onDomain('DOMAIN_RESUME', REMOTE.domainResume, domain);
  }

  /** Attaches to the running domain. */
  async attachDevice(domain: DomainRef, xml: string): Promise<void> {
    await this.calls.onDomain('ATTACH_DEVICE', REMOTE.attachDeviceFlags, domain, (args) => args.string(xml).uint(ACTIVE));
  }

  /** Asks the guest to let go; the device-removed event says when it did. */
  async detachDevice(domain: DomainRef, xml: string): Promise<void> {
    await this.calls.onDomain('DETACH_DEVICE', REMOTE.detachDeviceFlags, domain, (args) => args.string(xml).uint(ACTIVE));
  }

  /** With `force` the tray of a drive opens although the guest does not follow. */
  async updateDevice(domain: DomainRef, xml: string, options: { force?: boolean } = {}): Promise<void> {
    const FORCE = 4;
    const flags = ACTIVE | (options.force ? FORCE : 0);
    await this.calls.onDomain('UPDATE_DEVICE', REMOTE.updateDeviceFlags, domain, (args) => args.string(xml).uint(flags));
  }

  /**
   * Makes the guest write into overlays that exist already, as a `domainsnapshot` document names them; libvirt keeps no
   * record of it. All disks of the document change at one moment, or none does.
   */
  async pivotDisks(domain: DomainRef, xml: string): Promise<void> {
    const [NO_METADATA, DISK_ONLY, REUSE_EXTERNAL, ATOMIC] = [4, 16, 32, 128];
    await this.calls.onDomain('SNAPSHOT_CREATE_XML', REMOTE.domainSnapshotCreateXml, domain, (args) =>
      args.string(xml).uint(NO_METADATA | DISK_ONLY | REUSE_EXTERNAL | ATOMIC),
    );
  }

  /**
   * Begins to copy a disk into a file that exists, named by a `disk` document. The copy is complete when the domain shows a
   * mirror that is ready, and from then on whatever the guest writes is in both before it hears of that.
   */
  async copyDisk(domain: DomainRef, target: string, xml: string, bytesPerSecond = 0): Promise<void> {
    const [REUSE_EXTERNAL, TRANSIENT_JOB, SYNCHRONOUS_WRITES] = [2, 4, 8];
    const limit: readonly TypedParam[] =
      bytesPerSecond === 0 ? [] : [{ name: 'bandwidth', type: 'ullong', value: bytesPerSecond }];
    await this.calls.onDomain('BLOCK_COPY', REMOTE.domainBlockCopy, domain, (args) =>
      writeTypedParams(args.string(target).string(xml), limit).uint(REUSE_EXTERNAL | TRANSIENT_JOB | SYNCHRONOUS_WRITES),
    );
  }

  /** How much of a disk is copied, in percent. */
  async diskCopyProgress(domain: DomainRef, target: string): Promise<number> {
    const { body } = await this.calls.onDomain('GET_BLOCK_JOB_INFO', REMOTE.getBlockJobInfo, domain, (args) =>
      args.string(target).uint(0),
    );
    const [found] = [body.int(), body.int(), body.uhyper()];
    const [done, all] = [Number(body.uhyper()), Number(body.uhyper())];
    return found === 0 || all === 0 ? 0 : Math.min(100, (100 * done) / all);
  }

  /** Makes the guest go on in the copy of its disk, or forgets the copy. */
  async endDiskCopy(domain: DomainRef, target: string, { pivot }: { readonly pivot: boolean }): Promise<void> {
    const PIVOT = 2;
    await this.calls.onDomain('BLOCK_JOB_ABORT', REMOTE.blockJobAbort, domain, (args) =>
      args.string(target).uint(pivot ? PIVOT : 0),
    );
  }

  /** Grows a disk of the running guest, which is told; `target` is its name in the domain. */
  async resizeDisk(domain: DomainRef, target: string, sizeBytes: number): Promise<void> {
    const IN_BYTES = 1;
    await this.calls.onDomain('BLOCK_RESIZE', REMOTE.blockResize, domain, (args) =>
      args.string(target).hyper(BigInt(sizeBytes)).uint(IN_BYTES),
    );
  }

  /** Number of vCPUs of the running guest, at most what the domain was started with. Taking some away needs the guest. */
  async setVcpus(domain: DomainRef, count: number): Promise<void> {
    await this.calls.onDomain('SET_VCPUS', REMOTE.setVcpusFlags, domain, (args) => args.uint(count).uint(ACTIVE));
  }

  /** One more IO thread for the running domain. */
  async addIoThread(domain: DomainRef, id: number): Promise<void> {
    await this.calls.onDomain('ADD_IOTHREAD', REMOTE.domainAddIoThread, domain, (args) => args.uint(id).uint(ACTIVE));
  }

  /** Takes an IO thread that no disk uses from the running domain. */
  async removeIoThread(domain: DomainRef, id: number): Promise<void> {
    await this.calls.onDomain('DEL_IOTHREAD', REMOTE.domainDelIoThread, domain, (args) => args.uint(id).uint(ACTIVE));
  }

  /** How long libvirt waits for the guest's agent in calls that have no limit of their own, such as freeze. */
  async limitAgentResponse(domain: DomainRef, seconds: number): Promise<void> {
    await this.calls.onDomain('AGENT_SET_RESPONSE_TIMEOUT', REMOTE.agentSetResponseTimeout, domain, (args) =>
      args.int(seconds).uint(0),
    );
  }

  /** Freezes all file systems of the guest through its agent; resolves with their number. */
  async freeze(domain: DomainRef): Promise<number> {
    return (await this.calls.onDomain('FSFREEZE', REMOTE.fsFreeze, domain, (args) => args.uint(0).uint(0))).body.int();
  }

  async thaw(domain: DomainRef): Promise<number> {
    return (await this.calls.onDomain('FSTHAW', REMOTE.fsThaw, domain, (args) => args.uint(0).uint(0))).body.int();
  }

  /** A picture of the first screen; look at `mime`, because QEMU versions differ. */
  async screenshot(domain: DomainRef): Promise<{ mime: string; image: Buffer }> {
    const reply = await this.calls.onDomain(
      'DOMAIN_SCREENSHOT',
      REMOTE.domainScreenshot,
      domain,
      (args) => args.uint(0).uint(0),
      { maxStreamBytes: SCREENSHOT_BYTES },
    );
    return { mime: reply.body.optionalString() ?? 'image/png', image: reply.stream };
  }

  /** One QMP command as JSON text; resolves with QEMU's answer as JSON text. */
  async monitorCommand(domain: DomainRef, command: string): Promise<string> {
    const reply = await this.calls.onQemu('MONITOR_COMMAND', QEMU.monitorCommand, domain, (args) => args.string(command).uint(0));
    return reply.body.string();
  }

  /** One guest-agent command as JSON text. The answer is the guest's word: callers bound and check it. */
  async agentCommand(domain: DomainRef, command: string, timeoutSeconds: number): Promise<string> {
    const reply = await this.calls.onQemu('AGENT_COMMAND', QEMU.agentCommand, domain, (args) =>
      args.string(command).int(timeoutSeconds).uint(0),
    );
    return reply.body.optionalString() ?? '{}';
  }

  private async registerEvent(id: number): Promise<void> {
    // The optional domain is left out: one daemon has one domain.
    await this.calls.remote('EVENT_REGISTER', REMOTE.domainEventCallbackRegisterAny, (args) => args.int(id).uint(0));
  }
}
