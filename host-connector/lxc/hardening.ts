/** The last block of every container's configuration: what no user key may change (security note 6.1). Pure. */
import { isOn } from '#shared/config/keys.ts';
import type { Container, DeviceNode, Entry } from './config.ts';

const HOOKS = [
  'pre-start',
  'pre-mount',
  'mount',
  'autodev',
  'start-host',
  'start',
  'stop',
  'post-stop',
  'clone',
  'destroy',
];

/** sys_boot stays: a guest may reboot and power itself off. mknod, net_admin and sys_admin stay: systemd, in its own namespace. */
const DROPPED = {
  plain:
    'sys_module sys_rawio sys_time mac_admin mac_override syslog wake_alarm audit_control audit_read block_suspend perfmon bpf',
  nesting: 'sys_module sys_rawio sys_time syslog',
  privileged: 'sys_time sys_module sys_rawio mac_admin mac_override',
};

/** What every container may open: null, zero, full, random, urandom, tty, console, ptmx and pseudo terminals. */
const DEVICES = ['c 1:3', 'c 1:5', 'c 1:7', 'c 1:8', 'c 1:9', 'c 5:0', 'c 5:1', 'c 5:2', 'c 136:*'];
/** For containers inside: fuse and tun. */
const NESTING_DEVICES = ['c 10:229', 'c 10:200'];
/** Not sys:rw: there systemd-networkd waits for a udev that small images do not have. `dev/.lxc/sys` is what inner mounts need. */
const NESTING_AUTO = 'proc:rw sys:mixed cgroup:rw:force';
const NESTING_MOUNTS = [
  '/dev/fuse dev/fuse none bind,create=file,optional 0 0',
  '/dev/net/tun dev/net/tun none bind,create=file,optional 0 0',
  'proc dev/.lxc/proc proc create=dir,optional 0 0',
  'sys dev/.lxc/sys sysfs create=dir,optional 0 0',
];

/** The block. Lists are emptied before they are filled. */
export function hardening(container: Container): Entry[] {
  const { spec, host, idmap } = container;
  const nesting = isOn(spec.config, 'security.nesting');
  const privileged = isOn(spec.config, 'security.privileged');
  const kind = privileged ? 'privileged' : nesting ? 'nesting' : 'plain';
  return [
    ...HOOKS.map((hook): Entry => [`lxc.hook.${hook}`, '']),
    ['lxc.idmap', ''],
    ...(privileged ? [] : ['u', 'g'].map((type): Entry => ['lxc.idmap', `${type} 0 ${idmap.base} ${idmap.size}`])),
    ['lxc.rootfs.path', `dir:${container.rootfs}`],
    ['lxc.mount.auto', ''],
    ['lxc.mount.auto', nesting ? NESTING_AUTO : 'proc:mixed sys:mixed cgroup:mixed'],
    ...(nesting ? NESTING_MOUNTS.map((mount): Entry => ['lxc.mount.entry', mount]) : []),
    ['lxc.autodev', '1'],
    ['lxc.tty.max', '0'],
    ['lxc.pty.max', '1024'],
    ['lxc.cap.keep', ''],
    ['lxc.cap.drop', ''],
    ['lxc.cap.drop', DROPPED[kind]],
    ['lxc.no_new_privs', '0'],
    ['lxc.seccomp.profile', container.paths.seccomp],
    ['lxc.keyring.session', '1'],
    ...(host.apparmor ? apparmor(nesting) : []),
    ...deviceRules(container, nesting, privileged),
  ];
}

function apparmor(nesting: boolean): Entry[] {
  return [
    ['lxc.apparmor.profile', 'generated'],
    ['lxc.apparmor.allow_nesting', nesting ? '1' : '0'],
    ['lxc.apparmor.raw', ''],
  ];
}

function deviceRules({ host, devices }: Container, nesting: boolean, privileged: boolean): Entry[] {
  const version = host.cgroup === 'v2' ? 'lxc.cgroup2' : 'lxc.cgroup';
  // Making a node is not opening it, and privileged guests' udev makes many.
  const anyNode = privileged ? ['c *:* m', 'b *:* m'] : [];
  const open = [...DEVICES, ...(nesting ? NESTING_DEVICES : []), ...devices.map(nodeName)].map((node) => `${node} rwm`);
  return [
    [`${version}.devices.allow`, ''],
    [`${version}.devices.deny`, ''],
    [`${version}.devices.deny`, 'a'],
    ...[...anyNode, ...open].map((rule): Entry => [`${version}.devices.allow`, rule]),
  ];
}

function nodeName({ type, major, minor }: DeviceNode): string {
  return `${type} ${major}:${minor}`;
}
