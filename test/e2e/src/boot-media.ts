import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const MIB = 1024 * 1024;

/** Files of an image server that make it a registry with one image, `boot/files:1`, holding these files below /boot. */
export function registryFiles(directory: string, files: Readonly<Record<string, string>>): Record<string, string> {
  const root = join(directory, 'image');
  mkdirSync(join(root, 'boot'), { recursive: true });
  for (const [name, path] of Object.entries(files)) copyFileSync(path, join(root, 'boot', name));
  const served: Record<string, string> = {};
  const store = (path: string, data: Buffer): string => {
    const digest = `sha256:${createHash('sha256').update(data).digest('hex')}`;
    const file = join(directory, digest.slice(7));
    writeFileSync(file, data);
    served[`/v2/boot/files/${path.replace('DIGEST', digest)}`] = file;
    return digest;
  };
  const layer = gzipSync(execFileSync('tar', ['cC', root, 'boot'], { maxBuffer: 256 * MIB }), { level: 1 });
  const layers = [{ digest: store('blobs/DIGEST', layer), size: layer.length }];
  const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, layers }));
  const digest = store('manifests/DIGEST', manifest);
  const platform = { architecture: 'amd64', os: 'linux' };
  store('manifests/1', Buffer.from(JSON.stringify({ manifests: [{ digest, size: manifest.length, platform }] })));
  return served;
}

/** A disk whose EFI programs are not what was signed: one letter of each is another. */
export function unsignedDisk(rawPath: string, target: string): void {
  const disk = readFileSync(rawPath);
  const mark = Buffer.from('This program cannot be run in DOS mode');
  for (let at = disk.indexOf(mark); at >= 0; at = disk.indexOf(mark, at + 1)) disk[at] = 't'.charCodeAt(0);
  writeFileSync(target, disk);
}

/** A disc that a BIOS boots: GRUB, a kernel and its initial file system. */
export function bootableDisc(
  directory: string,
  target: string,
  kernel: { path: string; initrd: string; arguments: string },
): void {
  const root = join(directory, 'disc');
  mkdirSync(root, { recursive: true });
  copyFileSync(kernel.path, join(root, 'vmlinuz'));
  copyFileSync(kernel.initrd, join(root, 'initrd.gz'));
  const config = join(directory, 'disc.cfg');
  writeFileSync(config, `set root=(cd)\nlinux /vmlinuz ${kernel.arguments}\ninitrd /initrd.gz\nboot\n`);
  const modules = ['biosdisk', 'iso9660', 'linux', 'normal'];
  const core = join(root, 'eltorito.img');
  execFileSync('grub-mkimage', ['-O', 'i386-pc-eltorito', '-p', '/', '-c', config, '-o', core, ...modules]);
  const boot = ['-b', 'eltorito.img', '-no-emul-boot', '-boot-load-size', '4', '-boot-info-table'];
  execFileSync('genisoimage', ['-quiet', '-R', ...boot, '-o', target, root]);
}
