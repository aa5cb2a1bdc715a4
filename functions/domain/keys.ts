import type { Key } from '../ports/records.ts';

/**
 * Where every record lies. Nothing else builds keys. Fleet-wide collections are spread over sixteen shards by the first digit of a
 * random id or a hash, so that no partition is hot and a listing is sixteen queries side by side.
 */

const SHARDS = '0123456789abcdef'.split('');

/** The partitions of a sharded collection. */
function shards(collection: string): string[] {
  return SHARDS.map((shard) => `${collection}#${shard}`);
}

function sharded(collection: string, id: string): Key {
  return { pk: `${collection}#${id.slice(0, 1)}`, sk: id };
}

function single(pk: string): Key {
  return { pk, sk: '=' };
}

export const keys = {
  host: (id: string) => sharded('HOSTS', id),
  hosts: () => shards('HOSTS'),
  /** Uniqueness of a host's name, and the way from it to the id. */
  hostName: (name: string) => single(`HOSTNAME#${name}`),
  nonce: (host: string, hash: string): Key => ({ pk: `NONCE#${host}`, sk: hash }),
  joinToken: (id: string): Key => ({ pk: 'JOINTOKENS', sk: id }),
  joinTokens: () => 'JOINTOKENS',

  /** Commands that wait for, or were sent to, a host; in the order they were given. */
  outbox: (host: string, sequence: string): Key => ({ pk: `HOST#${host}`, sk: `OUT#${sequence}` }),
  outboxOf: (host: string) => ({ pk: `HOST#${host}`, prefix: 'OUT#' }),
  /** From a command's id to its place in the outbox. */
  command: (id: string) => single(`COMMAND#${id}`),

  user: (name: string): Key => ({ pk: 'USERS', sk: name }),
  users: () => 'USERS',
  apiToken: (id: string) => single(`APITOKEN#${id}`),
  apiTokenOf: (user: string, id: string): Key => ({ pk: `APITOKENS#${user}`, sk: id }),
  apiTokensOf: (user: string) => `APITOKENS#${user}`,

  profile: (project: string, name: string): Key => ({ pk: `PROFILES#${project}`, sk: name }),
  profiles: (project: string) => `PROFILES#${project}`,

  instance: (project: string, id: string) => sharded(`INSTANCES#${project}`, id),
  instances: (project: string) => shards(`INSTANCES#${project}`),
  /** Uniqueness of a name on its host, and the list of a host's instances. */
  instanceOn: (project: string, host: string, name: string): Key => ({ pk: `ON#${host}`, sk: `${project}#${name}` }),
  instancesOn: (host: string) => `ON#${host}`,
  /** Every host that has an instance of that name: how the fleet endpoint resolves it. */
  instanceNamed: (project: string, name: string, host: string): Key => ({ pk: `NAMED#${project}#${name}`, sk: host }),
  instancesNamed: (project: string, name: string) => `NAMED#${project}#${name}`,
  /** Instances of a profile. */
  profileUse: (project: string, profile: string, instance: string): Key => ({
    pk: `USES#${project}#${profile}`,
    sk: instance,
  }),
  profileUses: (project: string, profile: string) => `USES#${project}#${profile}`,

  image: (project: string, fingerprint: string) => sharded(`IMAGES#${project}`, fingerprint),
  images: (project: string) => shards(`IMAGES#${project}`),
  /** The shard in which every fingerprint with that beginning lies. */
  imagesLike: (project: string, prefix: string) => ({ pk: `IMAGES#${project}#${prefix.slice(0, 1)}`, prefix }),
  imageParts: (project: string, fingerprint: string) => single(`IMAGEPARTS#${project}#${fingerprint}`),
  alias: (project: string, name: string): Key => ({ pk: `ALIASES#${project}`, sk: name }),
  aliases: (project: string) => `ALIASES#${project}`,
  upload: (id: string): Key => ({ pk: 'UPLOADS', sk: id }),
  uploads: () => 'UPLOADS',

  operation: (project: string, id: string) => sharded(`OPERATIONS#${project}`, id),
  operations: (project: string) => shards(`OPERATIONS#${project}`),

  move: (project: string, id: string) => sharded(`MOVES#${project}`, id),
  moves: (project: string) => shards(`MOVES#${project}`),

  stream: (id: string) => single(`STREAM#${id}`),
  streamOfHost: (host: string, id: string): Key => ({ pk: `HOST#${host}`, sk: `STREAM#${id}` }),
  streamsOfHost: (host: string) => ({ pk: `HOST#${host}`, prefix: 'STREAM#' }),
  /** By the boot id of the client process, which survives its connections. */
  streamOfClient: (boot: string, id: string): Key => ({ pk: `CLIENT#${boot}`, sk: id }),
  streamsOfClient: (boot: string) => `CLIENT#${boot}`,

  subscriber: (project: string, connection: string): Key => ({ pk: `SUBSCRIBERS#${project}`, sk: connection }),
  subscribers: (project: string) => `SUBSCRIBERS#${project}`,
} as const;

/** Where an uploaded part lies in Objects. */
export function partKey(upload: string, index: number, sha256: string): string {
  return `upload/${upload}/${String(index).padStart(4, '0')}-${sha256}`;
}

/** Where the objects of a move lie; hosts only ever name what stands behind the attempt. */
export function transferKey(move: string, attempt: number, name: string): string {
  return `${transferPrefix(move)}${attempt}/${name}`;
}

/** What the keys of all objects of a move begin with. */
export function transferPrefix(move: string): string {
  return `transfer/${move}/`;
}
