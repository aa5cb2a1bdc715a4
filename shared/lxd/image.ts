/** Images and their aliases. */
import * as z from 'zod';
import { instanceName, imageAlias, profileName, snapshotName } from './names.ts';

/** The only ones: an algorithm never carries arguments (a way into a shell once, CVE-2026-28384). '' leaves the choice to us. */
export const COMPRESSIONS = ['none', 'gzip', 'zstd', 'xz'] as const;
export const compression = z.enum(['', ...COMPRESSIONS], `compression is one of ${COMPRESSIONS.join(', ')}`);

/** A whole fingerprint or the beginning of one; '' where a client has none to give. */
const fingerprintPrefix = z.string().regex(/^[0-9a-fA-F]{0,64}$/, 'a fingerprint is up to 64 hex digits');

export interface ImageAlias {
  name: string;
  description: string;
}

export interface ImageUpdateSource {
  alias: string;
  certificate: string;
  protocol: string;
  server: string;
  image_type: string;
}

export interface Image {
  fingerprint: string;
  public: boolean;
  auto_update: boolean;
  cached: boolean;
  properties: Record<string, string>;
  aliases: ImageAlias[];
  architecture: string;
  type: 'container';
  filename: string;
  /** Bytes, compressed. */
  size: number;
  profiles: string[];
  created_at: string;
  expires_at: string;
  last_used_at: string;
  uploaded_at: string;
  update_source?: ImageUpdateSource;
}

/** An alias as an object of its own. */
export interface Alias extends ImageAlias {
  /** Fingerprint. */
  target: string;
  type: 'container';
}

/** Where an image or an instance's image comes from: the fields are shared by POST images and POST instances. */
export const imageOrigin = {
  mode: z.enum(['', 'pull', 'push', 'relay']).optional(),
  server: z.string().optional(),
  protocol: z.enum(['', 'lxd', 'incus', 'simplestreams', 'oci', 'direct']).optional(),
  certificate: z.string().optional(),
  alias: z.string().optional(),
  fingerprint: fingerprintPrefix.optional(),
  secret: z.string().optional(),
  project: z.string().optional(),
  image_type: z.string().optional(),
  properties: z.record(z.string(), z.string()).nullish(),
};

/** `c1` or `c1/s1`: what a published image is made of. */
const publishedName = z.string().superRefine((name, context) => {
  const [instance = '', snapshot, ...rest] = name.split('/');
  const ok =
    rest.length === 0 &&
    instanceName.safeParse(instance).success &&
    (snapshot === undefined || snapshotName.safeParse(snapshot).success);
  if (!ok) context.addIssue({ code: 'custom', message: 'expected "instance" or "instance/snapshot"' });
});

export const ImageSource = z.discriminatedUnion('type', [
  z.looseObject({ type: z.literal('image'), ...imageOrigin }),
  z.looseObject({ type: z.literal('url'), url: z.string(), mode: imageOrigin.mode }),
  z.looseObject({ type: z.literal(['instance', 'container', 'snapshot']), name: publishedName }),
  // A push target names no type.
  z.looseObject({ type: z.literal('').optional(), ...imageOrigin }),
]);
export type ImageSource = z.infer<typeof ImageSource>;

const aliasList = z.array(z.looseObject({ name: imageAlias, description: z.string().default('') }));

/** PUT images/{fingerprint}. */
export const ImagePut = z.looseObject({
  auto_update: z.boolean().default(false),
  public: z.boolean().default(false),
  properties: z.record(z.string(), z.string()).nullish(),
  expires_at: z.string().optional(),
  profiles: z.array(profileName).nullish(),
});
export type ImagePut = z.infer<typeof ImagePut>;

export const ImagePatch = ImagePut.partial();
export type ImagePatch = z.infer<typeof ImagePatch>;

/** POST images with a JSON body: pull from elsewhere, publish an instance, or announce a push. */
export const ImagesPost = ImagePut.extend({
  source: ImageSource,
  filename: z.string().optional(),
  compression_algorithm: compression.optional(),
  aliases: aliasList.nullish(),
});
export type ImagesPost = z.infer<typeof ImagesPost>;

/** POST images/{fingerprint}/export: this server uploads the image to another. */
export const ImageExportPost = z.looseObject({
  target: z.string(),
  secret: z.string(),
  certificate: z.string().optional(),
  aliases: aliasList.nullish(),
  project: z.string().optional(),
  profiles: z.array(profileName).nullish(),
});
export type ImageExportPost = z.infer<typeof ImageExportPost>;

export const AliasPut = z.looseObject({ description: z.string().default(''), target: fingerprintPrefix.min(1) });
export type AliasPut = z.infer<typeof AliasPut>;

export const AliasPatch = z.looseObject({
  description: z.string().optional(),
  target: fingerprintPrefix.min(1).optional(),
});
export type AliasPatch = z.infer<typeof AliasPatch>;

export const AliasesPost = AliasPut.extend({ name: imageAlias, type: z.literal(['', 'container']).optional() });
export type AliasesPost = z.infer<typeof AliasesPost>;

/** Rename. */
export const AliasPost = z.looseObject({ name: imageAlias });
export type AliasPost = z.infer<typeof AliasPost>;
