import { openCeiling } from '#shared/config/policy.ts';
import { assertAllowed } from '#shared/config/restrictions.ts';
import { dropVolatile } from '#shared/config/volatile.ts';
import { FairleadError } from '#shared/errors.ts';
import type { InstancesPost } from '#shared/lxd/instance.ts';
import type { Operation } from '#shared/lxd/operation.ts';

import type { Ports } from '../../ports/ports.ts';
import { queryAll, type Stored } from '../../ports/records.ts';
import { decide, type Decision } from '../decide.ts';
import { perform } from '../effects.ts';
import { instanceEvent, operationEvent } from '../events/lifecycle.ts';
import { offlineSince, online, type HostRecord } from '../hosts/host.ts';
import { enqueueCommand } from '../hosts/outbox.ts';
import type { ImageRecord } from '../images/image.ts';
import { resolveImage } from '../images/lookup.ts';
import { keys } from '../keys.ts';
import { newOperation, OPERATION_DEADLINE_MS, renderOperation, type OperationRecord } from '../operations/operation.ts';
import { profilesOf, type ProfileRecord } from '../profiles/profile.ts';
import type { Actor } from '../trust/actor.ts';
import { checkProfiles, expanded, indexWrites, specOf, type InstanceRecord } from './instance.ts';
import { hardwareAddress, inventName } from './names.ts';
import { chooseHost } from './placement.ts';

/** Ids and choices that would be random or depend on time: drawn before the plan, so that the plan is pure. */
interface Drawn {
  readonly instance: string;
  readonly operation: string;
  readonly command: string;
  readonly name: string;
  readonly hardwareAddresses: readonly string[];
  readonly now: number;
}

interface CreateState {
  readonly profiles: ReadonlyMap<string, ProfileRecord>;
  readonly image: ImageRecord | undefined;
  readonly host: Stored<HostRecord>;
  /** Names of the hosts that have an instance of the wanted name. */
  readonly namesakes: readonly string[];
  readonly targeted: boolean;
}

/** As many hardware addresses are drawn as an instance may have nics. */
const MAX_NICS = 16;

/**
 * Creates an instance from an image, or an empty one: registry, lock, operation and command in one transaction.
 * @throws FairleadError for anything that can be known now to be wrong; nothing is written then.
 */
export async function createInstance(
  ports: Ports,
  actor: Actor,
  project: string,
  target: string | undefined,
  request: InstancesPost,
): Promise<Operation> {
  const drawn = draw(ports, request);
  const { value, effects } = await decide(
    ports,
    () => load(ports, project, target, request, drawn),
    (state) => planCreate(state, { actor: actor.user, project, request, drawn }),
  );
  await perform(ports, effects);
  return renderOperation(value.operation, value.host.name, waiting(value.host));
}

function waiting(host: HostRecord): string | undefined {
  return online(host) ? undefined : `Waiting for host ${host.name}, ${offlineSince(host)}`;
}

function draw(ports: Ports, request: InstancesPost): Drawn {
  const { random } = ports;
  return {
    instance: random.uuid(),
    operation: random.uuid(),
    command: random.uuid(),
    name: request.name || inventName(random.bytes(4)),
    hardwareAddresses: Array.from({ length: MAX_NICS }, () => hardwareAddress(random.bytes(3))),
    now: ports.clock.now(),
  };
}

async function load(
  ports: Ports,
  project: string,
  target: string | undefined,
  request: InstancesPost,
  drawn: Drawn,
): Promise<CreateState> {
  const image = await imageOf(ports, project, request);
  const [profiles, host, named] = await Promise.all([
    profilesOf(ports.records, project),
    chooseHost(ports, target, image?.architecture),
    queryAll(ports.records, keys.instancesNamed(project, drawn.name)),
  ]);
  return { profiles, image, host, namesakes: named.map(({ sk }) => sk), targeted: target !== undefined };
}

async function imageOf(ports: Ports, project: string, { source }: InstancesPost): Promise<ImageRecord | undefined> {
  switch (source.type) {
    case 'none':
      return undefined;
    case 'image':
      if (source.server) {
        throw new FairleadError(
          'bad_request',
          `Images of other servers cannot be launched yet: fetch the image from ${source.server} and add it with "fairlead image import".`,
        );
      }
      return resolveImage(ports, project, source.fingerprint || source.alias || '');
    case 'copy':
    case 'migration':
      throw new FairleadError(
        'bad_request',
        `Instances cannot be made by ${source.type} yet; launch one from an image.`,
      );
  }
}

interface CreateInput {
  readonly actor: string;
  readonly project: string;
  readonly request: InstancesPost;
  readonly drawn: Drawn;
}

/** Pure: everything that is written and sent when an instance is created. */
export function planCreate(
  state: CreateState,
  input: CreateInput,
): Decision<{ operation: OperationRecord; host: HostRecord }> {
  const { drawn, request, project } = input;
  const host = state.host.data;
  const instance = build(state, input);
  refuseDuplicate(state, instance);
  assertAllowed(expanded(instance, state.profiles), openCeiling, 'project');
  const { operation, write } = newOperation({
    id: drawn.operation,
    project,
    description: 'Creating instance',
    actor: input.actor,
    now: drawn.now,
    resources: { instances: [`/1.0/instances/${instance.name}`] },
    host: host.id,
    command: drawn.command,
    instance: instance.id,
  });
  const command = { kind: 'create', instance: specOf(instance, state.profiles), start: request.start } as const;
  const outgoing = { id: drawn.command, host: host.id, operation: operation.id, command };
  return {
    writes: [
      write,
      { op: 'put', key: keys.instance(project, instance.id), data: instance, when: 'absent' },
      ...indexWrites(instance),
      // A host must not be forgotten while an instance is being made on it.
      { op: 'check', key: keys.hostName(host.name), when: { rev: 1 } },
      ...enqueueCommand(outgoing, project, drawn.now, drawn.now + OPERATION_DEADLINE_MS),
    ],
    effects: [
      { do: 'deliver', host: host.id },
      operationEvent(operation, host.name),
      instanceEvent('instance-created', instance, host.name, drawn.now, input.actor),
    ],
    value: { operation, host },
  };
}

function build(state: CreateState, { drawn, request, project }: CreateInput): InstanceRecord {
  const { image } = state;
  const profiles = request.profiles ?? ['default'];
  checkProfiles(profiles, state.profiles);
  const local = { config: dropVolatile(request.config), devices: request.devices, profiles };
  return {
    id: drawn.instance,
    name: drawn.name,
    project,
    description: request.description,
    host: state.host.data.id,
    epoch: 1,
    architecture: image?.architecture ?? (request.architecture || (state.host.data.facts?.architecture ?? 'x86_64')),
    config: { ...imageProperties(image), ...local.config, ...volatile(local, state.profiles, drawn, image) },
    devices: request.devices,
    profiles,
    ephemeral: request.ephemeral,
    ...(image && { image: { fingerprint: image.fingerprint, size: image.size } }),
    status: 'Stopped',
    seq: 0,
    task: { operation: drawn.operation, action: 'create' },
    createdAt: drawn.now,
  };
}

/** As LXD: an image's properties become `image.*` keys of what is made from it. */
function imageProperties(image: ImageRecord | undefined): Record<string, string> {
  return Object.fromEntries(Object.entries(image?.properties ?? {}).map(([key, value]) => [`image.${key}`, value]));
}

function volatile(
  local: Parameters<typeof expanded>[0],
  profiles: ReadonlyMap<string, ProfileRecord>,
  drawn: Drawn,
  image: ImageRecord | undefined,
): Record<string, string> {
  const nics = Object.entries(expanded(local, profiles).devices).filter(([, device]) => device['type'] === 'nic');
  const addresses = nics.map(([name], at) => [`volatile.${name}.hwaddr`, drawn.hardwareAddresses[at] ?? ''] as const);
  return {
    'volatile.uuid': drawn.instance,
    ...(image && { 'volatile.base_image': image.fingerprint }),
    ...Object.fromEntries(addresses),
  };
}

function refuseDuplicate(state: CreateState, instance: InstanceRecord): void {
  const host = state.host.data;
  if (state.namesakes.includes(host.id)) {
    throw new FairleadError(
      'already_exists',
      `Instance "${instance.name}" already exists on host "${host.name}". Choose another name, or delete it first.`,
    );
  }
  // The fleet endpoint shows names without a host: it must not make one ambiguous.
  if (!state.targeted && state.namesakes.length > 0) {
    throw new FairleadError(
      'already_exists',
      `Instance "${instance.name}" already exists in the fleet. Choose another name, or name the host: <host>:${instance.name}.`,
    );
  }
}
