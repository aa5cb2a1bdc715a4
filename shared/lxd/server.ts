/** `GET /1.0`: the server, its extensions and, for who is trusted, its environment. */
import * as z from 'zod';

export interface Server {
  api_extensions: string[];
  api_status: 'stable';
  api_version: '1.0';
  auth: 'trusted' | 'untrusted';
  public: boolean;
  auth_methods: ('tls' | 'oidc')[];
  auth_user_name?: string;
  auth_user_method?: string;
  /** Only for who is trusted, as is `environment`. */
  config?: Record<string, unknown>;
  environment?: ServerEnvironment;
}

export interface ServerEnvironment {
  /** `host:port` that really lead here; stock clients try them for cross-server copies. */
  addresses: string[];
  architectures: string[];
  /** PEM of the TLS certificate: unix-socket remotes take it from here. */
  certificate: string;
  certificate_fingerprint: string;
  driver: 'lxc';
  driver_version: string;
  kernel: string;
  kernel_architecture: string;
  kernel_version: string;
  os_name: string;
  os_version: string;
  project: string;
  server: string;
  /** True on the fleet endpoint: clients then show LOCATION and take `--target`. */
  server_clustered: boolean;
  server_name: string;
  server_pid: number;
  server_version: string;
  storage: string;
  storage_version: string;
  /** Ours: where websockets are opened when that is elsewhere. */
  fleet_link?: string;
  firewall?: string;
  kernel_features?: Record<string, string>;
  lxc_features?: Record<string, string>;
  server_event_mode?: string;
  storage_supported_drivers?: { Name: string; Version: string; Remote: boolean }[];
}

export const ServerPut = z.looseObject({ config: z.record(z.string(), z.unknown()) });
export type ServerPut = z.infer<typeof ServerPut>;
