import { Command, createProgram, parseCount, parseListen, withOutput, withTextOrJson } from '@slipway/cli';
import { DEFAULT_DATA_DIR, DEFAULT_LISTEN } from './instance/defaults.ts';
import { withLongOptions } from './layer/long-options.ts';
import { reportFailure } from './report-failure.ts';
import { VERSION } from './version.ts';

/** Every verb loads its code when it is used: `slipway --help` and console commands stay quick. */
function buildProgram(): Command {
  const program = createProgram('slipway', 'OpenShift Virtualization at the weight of a light VM tool').version(VERSION);
  addLifecycleCommands(program);
  addAccessCommands(program);
  addClusterCommands(program);
  addLayerCommands(program);
  addStoreCommands(program);
  addChartCommands(program);
  addAppCommands(program);
  addCheckCommand(program);
  addDevelopmentCommands(program);
  return program;
}

const withDataDir = (command: Command): Command =>
  command.option(
    '--data-dir <dir>',
    'where this installation keeps everything',
    process.env['SLIPWAY_DATA_DIR'] ?? DEFAULT_DATA_DIR,
  );

/** Named as those of kube-apiserver; `up` remembers them. */
const withServerOptions = (command: Command): Command =>
  command
    .option('--oidc-issuer-url <url>', "believe ID tokens of this issuer; '' no longer")
    .option('--oidc-client-id <id>', 'the client that tokens are made for')
    .option('--oidc-username-claim <claim>', 'claim with the user name (default sub)')
    .option('--oidc-username-prefix <prefix>', "put before user names (default the issuer's URL and #; - for none)")
    .option('--oidc-groups-claim <claim>', "claim with the user's groups")
    .option('--oidc-groups-prefix <prefix>', 'put before group names')
    .option('--oidc-required-claim <name=value...>', 'claims a token must have')
    .option('--oidc-signing-algs <list>', 'accepted signature algorithms, separated by commas (default RS256)')
    .option('--oidc-ca-file <file>', "authority of the issuer's certificate")
    .option('--authentication-config <file>', "an AuthenticationConfiguration instead of the --oidc options; '' no longer")
    .option('--audit-policy-file <file>', "what the audit log records, as audit.k8s.io/v1 Policy; '' no longer")
    .option('--audit-level <level>', 'without a policy, of changes and refusals: Metadata, or Request with what was sent')
    .option('--audit-log-maxsize <megabytes>', 'size at which the audit log is rotated (default 16)', parseCount)
    .option('--audit-log-maxbackup <count>', 'older audit logs to keep (default 4)', parseCount)
    .option('--allow-git-path <dir...>', "Applications may read repositories below it; '' no longer")
    .option('--allow-git-address <cidr...>', "loopback or link-local addresses Applications may reach; '' no longer")
    .option('--node-monitor-grace-period <seconds>', 'silence after which a node counts as lost (default 40)', parseCount);

function addLifecycleCommands(program: Command): void {
  withServerOptions(withDataDir(program.command('up')))
    .description('start the platform; returns when it is ready')
    .option('--listen <address:port>', `where the API listens (default ${DEFAULT_LISTEN})`, parseListen)
    .option('--nodes <count>', 'nodes on this machine (default 1); more or fewer at any later start', parseCount)
    .option('--no-hyperconverged', 'first start: KubeVirt and CDI objects of your own, without the operator above them')
    .option('--foreground', 'stay, and stop the platform on Ctrl+C')
    .option('--allow-loopback-imports', 'let image imports reach addresses of this machine, at later starts too')
    .option('--no-allow-loopback-imports', 'no longer')
    .option('-y, --yes', 'install missing Debian packages without asking')
    .action(async (options) => (await import('./lifecycle/up.ts')).up(options));
  withDataDir(program.command('down'))
    .description('stop the platform; guests keep running')
    .option('--guests', 'shut the guests down first')
    .action(async (options) => (await import('./lifecycle/down.ts')).down(options));
  withTextOrJson(withDataDir(program.command('status')))
    .description('what runs, since when, with how much memory')
    .action(async (options) => (await import('./lifecycle/status.ts')).status(options));
  withDataDir(program.command('reset'))
    .description('remove everything: guests, disks, networks, data')
    .option('-y, --yes', 'do not ask')
    .action(async (options) => (await import('./lifecycle/reset.ts')).reset(options));
  withDataDir(program.command('logs'))
    .description('logs of a component')
    .argument('[component]', 'server or a node name; all when absent')
    .option('-f, --follow', 'go on as lines are written')
    .option('--tail <lines>', 'last lines of each log', parseCount, 50)
    .action(async (component, options) => (await import('./lifecycle/logs.ts')).logs(component, options));
  withTextOrJson(withDataDir(program.command('doctor')))
    .description('check this host, with a remedy for each finding')
    .action(async (options) => (await import('./doctor/doctor.ts')).doctor(options));
}

function addAccessCommands(program: Command): void {
  withDataDir(program.command('kubeconfig'))
    .description('print the administrator kubeconfig, or merge it into yours')
    .option('--merge', 'merge into $KUBECONFIG or ~/.kube/config and make it the current context')
    .action(async (options) => (await import('./access/kubeconfig.ts')).kubeconfig(options));
  withDataDir(program.command('token'))
    .description('print a bearer token')
    .option('--admin', 'a token of the administrator group')
    .option('--user <name>', 'user name')
    .option('--group <group...>', 'groups of the user')
    .action(async (options) => (await import('./access/token.ts')).token(options));
  program
    .command('virt')
    .description('virtctl-compatible commands: start, stop, console, vnc, ssh, port-forward …')
    .helpOption(false)
    .passThroughOptions()
    .allowUnknownOption()
    .argument('[args...]')
    .action(async (args: string[]) => (await import('./access/virt.ts')).virt(args));
}

const withKubeconfig = (command: Command): Command =>
  withDataDir(command).option('--kubeconfig <file>', "the cluster and who you are (default: the installation's administrator)");

function addClusterCommands(program: Command): void {
  withTextOrJson(withKubeconfig(program.command('alerts')))
    .description('alerts of the platform that hold now; exit status 1 when one fires')
    .action(async (options) => (await import('./alerts/alerts.ts')).alerts(options));
  program
    .command('dashboards')
    .description('dashboards for Grafana: list them, print one, or write all; needs no cluster')
    .argument('[name]', 'print this one')
    .option('--out <dir>', 'write all of them there as files')
    .action(async (name, options) => (await import('./alerts/dashboards.ts')).dashboards(name, options));
  withTextOrJson(withKubeconfig(program.command('why')))
    .description('say why a VM, an instance or a pod does not run, node by node, and why a guest cannot move')
    .argument('<what...>', 'NAME, TYPE/NAME or TYPE NAME; types are vm, vmi and pod')
    .option('-n, --namespace <namespace>', 'its namespace')
    .addHelpText('after', '\nExit status: 0 it runs, or is stopped as it shall be; 3 it waits; 1 it is not there.')
    .action(async (what: string[], options) => (await import('./why/why.ts')).why(what, options));
  const node = program.command('node').description('nodes: what they carry, and maintenance');
  withTextOrJson(withKubeconfig(node.command('list')))
    .description('nodes with their guests, room and taints')
    .action(async (options) => (await import('./nodes/node-commands.ts')).listNodes(options));
  withKubeconfig(node.command('cordon'))
    .description('let nothing new come to a node')
    .argument('<name>')
    .action(async (name: string, options) => (await import('./nodes/node-commands.ts')).cordon(name, options));
  withKubeconfig(node.command('uncordon'))
    .description('end the maintenance of a node')
    .argument('<name>')
    .action(async (name: string, options) => (await import('./nodes/node-commands.ts')).uncordon(name, options));
  withKubeconfig(node.command('drain'))
    .description('cordon a node and move everything away from it')
    .argument('<name>')
    .option('--timeout <time>', 'give up after that, for example 5m (default: never)')
    .option('--dry-run', 'only say what would become of each guest')
    .action(async (name: string, options) => (await import('./nodes/node-commands.ts')).drain(name, options));
}

function addLayerCommands(program: Command): void {
  const layer = program.command('layer').description('the virtualization layer of a variables file: machine pools and placement');
  const withVarFile = (command: Command): Command =>
    withKubeconfig(command).option('--var-file <file>', 'variables as Terraform reads them (.tfvars, .tfvars.json)', collect);
  withVarFile(layer.command('render'))
    .description('print it as YAML')
    .option('--no-nodes', 'without the nodes: needs no cluster')
    .action(async (options) => (await import('./layer/layer-commands.ts')).renderLayer(options));
  withVarFile(layer.command('apply'))
    .description('apply it, and wait until the platform follows')
    .option('--timeout <time>', 'wait no longer, for example 90s (default 30m)')
    .option('--no-wait', 'return when it is stored')
    .option('--force-conflicts', 'take over fields that others have set')
    .action(async (options) => (await import('./layer/layer-commands.ts')).apply(options));
  withTextOrJson(withVarFile(layer.command('check')))
    .description('say which pods are where, and what is not as the variables say')
    .addHelpText('after', '\nExit status: 0 all is well; 3 something is not; 2 the variables are wrong; 1 the check failed.')
    .action(async (options) => (await import('./layer/layer-commands.ts')).check(options));
}

/** For options that may be given several times. */
const collect = (value: string, all: readonly string[] = []): readonly string[] => [...all, value];

function addChartCommands(program: Command): void {
  program
    .command('template')
    .description('render a Helm chart; needs no cluster')
    .argument('<name-or-chart...>', 'directory of the chart; a release name may stand before it')
    .option('-f, --values <file>', 'values files; later ones win', collect)
    .option('--set <assignments>', 'values as a.b=1,c[0]=x', collect)
    .option('--set-string <assignments>', 'the same, always text', collect)
    .option('--set-file <assignments>', 'values from files: key=path', collect)
    .option('--set-json <assignments>', 'values as JSON: key=json', collect)
    .option('--set-literal <assignments>', 'everything after the equals sign is the text', collect)
    .option('-n, --namespace <namespace>', 'namespace of the release', 'default')
    .option('--name-template <name>', 'name of the release')
    .option('--kube-version <version>', 'Kubernetes version that templates see', 'v1.34.0')
    .option('-a, --api-versions <versions>', 'API versions that templates see, such as kubevirt.io/v1', collect)
    .option('-s, --show-only <templates>', 'only these templates', collect)
    .option('--include-crds', 'definitions of custom resources too')
    .option('--no-hooks', 'without hooks')
    .option('--is-upgrade', 'set .Release.IsUpgrade instead of .Release.IsInstall')
    .option('--skip-schema-validation', 'ignore values.schema.json')
    .option('--skip-tests', 'without test hooks')
    .option('--show-notes', 'the notes at the end')
    .action(async (names, options) => (await import('./charts/template.ts')).template(names, options));
}

function addCheckCommand(program: Command): void {
  withTextOrJson(program.command('check'))
    .description('say what a platform would object to in manifests: schema, admission, cloud-init, room; needs no cluster')
    .argument('<files...>', 'files, directories, or - for what comes in')
    .option('--strict', 'warnings count as errors')
    .option('--nodes <count>', 'nodes that there would be', parseCount, 1)
    .option('--node-memory <size>', 'memory of one, for example 64Gi (default: that of this machine)')
    .option('--node-cpus <count>', 'its processors (default: those of this machine)', parseCount)
    .option('--memory-overcommit <percent>', 'what guests may have of it together', parseCount, 300)
    .addHelpText('after', '\nExit status: 0 nothing is wrong; 1 something is; 2 a file cannot be read.')
    .action(async (files: string[], options) => (await import('./check/check.ts')).check(files, options));
}

/** Applications of Argo CD, whoever reconciles them. */
function addAppCommands(program: Command): void {
  const app = program.command('app').description('Applications: compare with git, sync, go back');
  const withApp = (command: Command): Command =>
    withKubeconfig(command).option('-n, --namespace <namespace>', 'of the Application (default: wherever Applications may be)');
  const withFormat = (command: Command): Command => withOutput(withApp(command), ['text', 'json', 'yaml', 'name']);
  withFormat(app.command('list'))
    .description('all of them, with what git and their objects say')
    .action(async (options) => (await import('./apps/app-commands.ts')).listApps(options));
  withFormat(app.command('get'))
    .description('one, with its objects')
    .argument('<name>')
    .option('--refresh', 'compare with git first')
    .option('--hard-refresh', 'the same, past all caches')
    .action(async (name: string, options) => (await import('./apps/app-commands.ts')).getApp(name, options));
  withApp(app.command('diff'))
    .description('what a sync would change; exit status 1 when anything, 2 when that cannot be said')
    .argument('<name>')
    .option('--revision <revision>', 'compare with this revision')
    .option('--no-exit-code', 'exit status 0 also when something differs')
    .action(async (name: string, options) => (await import('./apps/app-commands.ts')).diffApp(name, options));
  withFormat(app.command('history'))
    .description('what was deployed when')
    .argument('<name>')
    .action(async (name: string, options) => (await import('./apps/app-commands.ts')).appHistory(name, options));
  const withSync = (command: Command): Command =>
    withApp(command)
      .option('--prune', 'delete what is no longer in git')
      .option('--dry-run', 'only say what would be done')
      .option('--async', 'return at once')
      .option('--wait', 'until the objects are healthy, not only applied')
      .option('--timeout <time>', 'give up waiting after that, for example 5m (default: never)');
  withSync(app.command('sync'))
    .description('bring the objects to what git says')
    .argument('<name>')
    .option('--revision <revision>', 'of this branch, tag or commit')
    .option('--force', 'delete and create what cannot be replaced')
    .option('--resource <group:kind:name>', 'only these; with namespace/ before the name', collect)
    .option('--sync-option <option>', 'for example ApplyOutOfSyncOnly=true', collect)
    .option('--retry-limit <count>', 'attempts after a failure', parseCount)
    .addHelpText(
      'after',
      '\nExit status: 0 done; 1 failed; 2 no such resource or option; 3 not done in time; 130 interrupted, and the sync goes on.',
    )
    .action(async (name: string, options) => (await import('./apps/sync-app.ts')).syncApp(name, options));
  withSync(app.command('rollback'))
    .description('go back to an earlier deployment')
    .argument('<name>')
    .argument('[id]', 'of the history; the one before the last when absent')
    .action(async (name: string, id, options) => (await import('./apps/sync-app.ts')).rollbackApp(name, id, options));
}

function addStoreCommands(program: Command): void {
  const store = program.command('store').description('the store of all API objects: check, back up, restore');
  withTextOrJson(withDataDir(store.command('check')))
    .description('read every byte and say what is wrong')
    .action(async (options) => (await import('./store-commands.ts')).checkStoreFiles(options));
  withDataDir(store.command('backup'))
    .description('copy it into a new directory; the platform may run')
    .argument('<directory>', 'where to')
    .action(async (directory: string, options) => (await import('./store-commands.ts')).backup(directory, options));
  withDataDir(store.command('restore'))
    .description('put a backup in its place; the platform must be down')
    .argument('<directory>', 'the backup')
    .action(async (directory: string, options) => (await import('./store-commands.ts')).restore(directory, options));
}

function addDevelopmentCommands(program: Command): void {
  withDataDir(program.command('demo'))
    .description('install what is missing, start, boot a VM from a manifest and show its login prompt')
    .option('--guest <kind>', 'tiny or debian', 'tiny')
    .option('--listen <address:port>', `where the API listens (default ${DEFAULT_LISTEN})`, parseListen)
    .option('-y, --yes', 'install missing Debian packages without asking')
    .action(async (options) => (await import('./demo/demo.ts')).demo(options));
  program
    .command('test')
    .description('install what the tests need and run them all')
    .option('-y, --yes', 'install missing Debian packages without asking')
    .option('--long', 'the long suites too: real cloud images, two hundred kill rounds')
    .action(async (options) => (await import('./development/test.ts')).test(options));
  program
    .command('bench')
    .description('measure the promises of SPECIFICATION.md')
    .argument('[names...]', 'for example S2 S5; all when absent')
    .option('--json <file>', 'also write the rows as JSON')
    .action(async (names, options) => (await import('./development/bench.ts')).bench(names, options));
  const development = program.command('dev').description('for developers of Slipway');
  development
    .command('domain-xml')
    .description('one recorded case as JSON on stdin, libvirt domain XML on stdout')
    .action(async () => (await import('./development/golden.ts')).domainXml());
  development
    .command('launcher-pod')
    .description('one recorded case as JSON on stdin, launcher pod JSON on stdout')
    .action(async () => (await import('./development/golden.ts')).launcherPod());
  development
    .command('guest-image')
    .description('build a test guest and print where its files are')
    .argument('<kind>', 'tiny, tiny-generic or debian')
    .action(async (kind: string) => (await import('./development/guest-image.ts')).guestImage(kind));
}

/** The command line: `slipway` with these words. */
export async function main(words: readonly string[]): Promise<void> {
  // a reader that has seen enough (`| head`) closes the pipe: nothing is wrong
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit();
  });
  try {
    await buildProgram().parseAsync(withLongOptions(words), { from: 'user' });
  } catch (error) {
    process.exitCode = reportFailure(error);
  }
}

/** For the build, see program/start.ts. */
export const rehearse = async (): Promise<void> => (await import('./program/rehearsal.ts')).rehearse();
