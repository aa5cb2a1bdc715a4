import * as z from 'zod';

import { FairleadError } from '#shared/errors.ts';
import { AliasesPost, AliasPatch, AliasPost, AliasPut } from '#shared/lxd/image.ts';
import { fingerprint, imageAlias } from '#shared/lxd/names.ts';

import {
  changeAlias,
  createAlias,
  deleteAlias,
  deleteImage,
  getAlias,
  getImage,
  listAliases,
  listImages,
  renameAlias,
} from '../../domain/images/service.ts';
import { beginUpload, finishUpload, MAX_PART_BYTES, MAX_PARTS, signUpload } from '../../domain/images/upload.ts';
import type { Call, Route } from '../route.ts';

const UploadPost = z.object({
  size: z.int().positive(),
  sha256: fingerprint,
  parts: z
    .array(z.object({ length: z.int().positive().max(MAX_PART_BYTES), sha256: fingerprint }))
    .min(1)
    .max(MAX_PARTS),
});

/** POST images for what was uploaded in parts; the other sources of LXD come with the catalogue. */
const UploadedImagePost = z.looseObject({
  source: z.looseObject({ type: z.literal('upload'), upload: z.uuid() }),
  filename: z.string().max(255).default(''),
  public: z.boolean().default(false),
  properties: z.record(z.string().max(100), z.string().max(1000)).nullish(),
  aliases: z
    .array(z.looseObject({ name: imageAlias, description: z.string().max(1000).default('') }))
    .max(16)
    .nullish(),
});

export const imageRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/1.0/fleet/uploads',
    entitlement: 'edit',
    handle: async ({ ports, actor, project, body }) => {
      const answer = await beginUpload(ports, actor, project, body(UploadPost, 'upload'));
      return { sync: answer, created: `/1.0/fleet/uploads/${answer.id}` };
    },
  },
  {
    method: 'GET',
    path: '/1.0/fleet/uploads/:id',
    entitlement: 'edit',
    handle: async ({ ports, actor, params, query }) => ({
      sync: await signUpload(ports, actor, params['id'] ?? '', Math.max(0, Math.trunc(Number(query['from'])) || 0)),
    }),
  },
  { method: 'GET', path: '/1.0/images', entitlement: 'view', handle: list },
  { method: 'POST', path: '/1.0/images', entitlement: 'edit', handle: create },
  // Before images/:fingerprint, which would take "aliases" for one.
  { method: 'GET', path: '/1.0/images/aliases', entitlement: 'view', handle: aliases },
  {
    method: 'POST',
    path: '/1.0/images/aliases',
    entitlement: 'edit',
    handle: async ({ ports, actor, project, body }) => {
      const { name, description, target } = body(AliasesPost, 'alias');
      await createAlias(ports, actor, project, { name, description, target });
      return { sync: {}, created: `/1.0/images/aliases/${encodeURIComponent(name)}` };
    },
  },
  {
    method: 'GET',
    path: '/1.0/images/aliases/:name',
    entitlement: 'view',
    handle: async ({ ports, project, params }) => ({ sync: await getAlias(ports, project, params['name'] ?? '') }),
  },
  {
    method: 'PUT',
    path: '/1.0/images/aliases/:name',
    entitlement: 'edit',
    handle: (call) => editAlias(call, call.body(AliasPut, 'alias')),
  },
  {
    method: 'PATCH',
    path: '/1.0/images/aliases/:name',
    entitlement: 'edit',
    handle: (call) => editAlias(call, call.body(AliasPatch, 'alias')),
  },
  {
    method: 'POST',
    path: '/1.0/images/aliases/:name',
    entitlement: 'edit',
    handle: async ({ ports, project, params, body }) => {
      const { name } = body(AliasPost, 'alias');
      await renameAlias(ports, project, params['name'] ?? '', name);
      return { sync: {}, created: `/1.0/images/aliases/${encodeURIComponent(name)}` };
    },
  },
  {
    method: 'DELETE',
    path: '/1.0/images/aliases/:name',
    entitlement: 'edit',
    handle: async ({ ports, actor, project, params }) => {
      await deleteAlias(ports, actor, project, params['name'] ?? '');
      return { sync: {} };
    },
  },
  {
    method: 'GET',
    path: '/1.0/images/:fingerprint',
    entitlement: 'view',
    handle: async ({ ports, project, params }) => {
      const { image, etag } = await getImage(ports, project, params['fingerprint'] ?? '');
      return { sync: image, etag };
    },
  },
  {
    method: 'DELETE',
    path: '/1.0/images/:fingerprint',
    entitlement: 'edit',
    handle: async ({ ports, actor, project, params }) => ({
      operation: await deleteImage(ports, actor, project, params['fingerprint'] ?? ''),
    }),
  },
];

async function list({ ports, project, query }: Call) {
  const images = await listImages(ports, project);
  return { sync: query['recursion'] === '1' ? images : images.map((image) => `/1.0/images/${image.fingerprint}`) };
}

async function aliases({ ports, project, query }: Call) {
  const all = await listAliases(ports, project);
  return {
    sync: query['recursion'] === '1' ? all : all.map(({ name }) => `/1.0/images/aliases/${encodeURIComponent(name)}`),
  };
}

async function create({ ports, actor, project, header, body }: Call) {
  if (/octet-stream|multipart/.test(header('content-type') ?? '')) {
    throw new FairleadError(
      'body_too_large',
      'Image files are not sent in one body here: announce the upload at POST /1.0/fleet/uploads, or use "fairlead image import".',
    );
  }
  const request = body(UploadedImagePost, 'image');
  const operation = await finishUpload(ports, actor, project, {
    upload: request.source.upload,
    filename: request.filename,
    public: request.public,
    properties: request.properties ?? {},
    aliases: (request.aliases ?? []).map(({ name, description }) => ({ name, description })),
  });
  return { operation };
}

async function editAlias({ ports, actor, project, params }: Call, change: AliasPatch) {
  const { description, target } = change;
  await changeAlias(ports, actor, project, params['name'] ?? '', {
    ...(description !== undefined && { description }),
    ...(target !== undefined && { target }),
  });
  return { sync: {} };
}
