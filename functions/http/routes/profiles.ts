import { ProfilePatch, ProfilePost, ProfilePut, ProfilesPost } from '#shared/lxd/profile.ts';

import {
  changeProfile,
  createProfile,
  deleteProfile,
  getProfile,
  listProfiles,
  renameProfile,
} from '../../domain/profiles/service.ts';
import type { Call, Route } from '../route.ts';

export const profileRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/1.0/profiles',
    entitlement: 'view',
    handle: async ({ ports, project, query }) => {
      const profiles = await listProfiles(ports, project);
      return { sync: query['recursion'] === '1' ? profiles : profiles.map(({ name }) => `/1.0/profiles/${name}`) };
    },
  },
  {
    method: 'POST',
    path: '/1.0/profiles',
    entitlement: 'edit',
    handle: async ({ ports, actor, project, body }) => {
      const { name, description, config, devices } = body(ProfilesPost, 'profile');
      await createProfile(ports, actor, project, { name, description, config, devices });
      return { sync: {}, created: `/1.0/profiles/${name}` };
    },
  },
  {
    method: 'GET',
    path: '/1.0/profiles/:name',
    entitlement: 'view',
    handle: async ({ ports, project, params }) => {
      const { profile, etag } = await getProfile(ports, project, params['name'] ?? '');
      return { sync: profile, etag };
    },
  },
  {
    method: 'PUT',
    path: '/1.0/profiles/:name',
    entitlement: 'edit',
    handle: (call) => change(call, call.body(ProfilePut, 'profile'), false),
  },
  {
    method: 'PATCH',
    path: '/1.0/profiles/:name',
    entitlement: 'edit',
    handle: (call) => change(call, call.body(ProfilePatch, 'profile'), true),
  },
  {
    method: 'POST',
    path: '/1.0/profiles/:name',
    entitlement: 'edit',
    handle: async ({ ports, actor, project, params, body }) => {
      const { name } = body(ProfilePost, 'profile');
      await renameProfile(ports, actor, project, params['name'] ?? '', name);
      return { sync: {}, created: `/1.0/profiles/${name}` };
    },
  },
  {
    method: 'DELETE',
    path: '/1.0/profiles/:name',
    entitlement: 'edit',
    handle: async ({ ports, actor, project, params }) => {
      await deleteProfile(ports, actor, project, params['name'] ?? '');
      return { sync: {} };
    },
  },
];

async function change({ ports, actor, project, params, header }: Call, request: ProfilePatch, patch: boolean) {
  const { description, config, devices } = request;
  const wanted = {
    ...(description !== undefined && { description }),
    ...(config !== undefined && { config }),
    ...(devices !== undefined && { devices }),
  };
  await changeProfile(ports, actor, project, params['name'] ?? '', wanted, { patch, ifMatch: header('if-match') });
  return { sync: {} };
}
