import type { Server } from '#shared/lxd/server.ts';

import type { Call, Route } from '../route.ts';

/** What of LXD's additions to 1.0 is served; nothing is named that is not built. */
const API_EXTENSIONS = [
  'etag',
  'patch',
  'instances',
  'container_full',
  'instance_get_full',
  'instance_create_start',
  'container_exec_user_group_cwd',
  'container_exec_signal_handling',
  'operation_description',
  'event_location',
];

export const serverRoutes: readonly Route[] = [
  { method: 'GET', path: '/', entitlement: 'public', handle: () => ({ sync: ['/1.0'] }) },
  { method: 'GET', path: '/1.0', entitlement: 'public', handle: (call) => ({ sync: server(call) }) },
];

function server({ ports, actor }: Call): Server {
  const { version, certificate = '', certificateFingerprint = '', publicUrl, linkUrl } = ports.deployment;
  const anyone = {
    api_extensions: API_EXTENSIONS,
    api_status: 'stable',
    api_version: '1.0',
    public: false,
    auth_methods: [],
  } as const;
  if (actor.user === '') return { ...anyone, api_extensions: [...API_EXTENSIONS], auth_methods: [], auth: 'untrusted' };
  return {
    ...anyone,
    api_extensions: [...API_EXTENSIONS],
    auth_methods: [],
    auth: 'trusted',
    auth_user_name: actor.user,
    config: {},
    environment: {
      addresses: [new URL(publicUrl).host],
      architectures: ['x86_64', 'aarch64'],
      certificate,
      certificate_fingerprint: certificateFingerprint,
      driver: 'lxc',
      driver_version: '',
      kernel: 'Linux',
      kernel_architecture: '',
      kernel_version: '',
      os_name: '',
      os_version: '',
      project: 'default',
      server: 'fairlead',
      server_clustered: false,
      server_name: 'fairlead',
      server_pid: 0,
      server_version: version,
      storage: '',
      storage_version: '',
      ...(linkUrl !== undefined && { fleet_link: linkUrl }),
    },
  };
}
