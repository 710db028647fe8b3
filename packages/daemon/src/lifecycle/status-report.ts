/** What `slipway status -o json` prints; tests and measurements rely on these names. */
export interface StatusReport {
  readonly version: string;
  readonly dataDir: string;
  readonly kubeconfig: string;
  readonly server: ProcessReport & { readonly url: string; readonly ready: boolean };
  readonly nodes: readonly (ProcessReport & {
    readonly name: string;
    /** What the names of this node's links, network namespaces and nftables tables on the host begin with. */
    readonly hostPrefix: string;
    /** On the link between nodes, when there are several. */
    readonly linkAddress?: string;
    readonly isLinkUp?: boolean;
    readonly accelerator: 'kvm' | 'tcg' | 'unknown';
    readonly acceleratorReason: string;
  })[];
  readonly guests: readonly GuestReport[];
  /** Proportional set size of everything but the guests' QEMU processes. */
  readonly managementPssBytes: number;
  readonly guestsPssBytes: number;
}

export interface ProcessReport {
  readonly running: boolean;
  /** Of the process itself, not of its supervisor. */
  readonly pid?: number;
  readonly startedAt?: string;
  readonly pssBytes?: number;
}

export interface GuestReport {
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly initPid?: number;
  readonly libvirtdPid?: number;
  readonly qemuPid?: number;
  /** Sandbox without QEMU. */
  readonly overheadPssBytes: number;
  readonly qemuPssBytes: number;
}
