/** Profiles: configuration and devices that instances share. */
import * as z from 'zod';
import { configMap, devicesMap, type Config, type Devices } from './maps.ts';
import { profileName } from './names.ts';

export interface Profile {
  name: string;
  description: string;
  config: Config;
  devices: Devices;
  /** URLs of the instances that use it. */
  used_by: string[];
}

export const ProfilePut = z.looseObject({
  description: z.string().default(''),
  config: configMap,
  devices: devicesMap,
});
export type ProfilePut = z.infer<typeof ProfilePut>;

export const ProfilePatch = z.looseObject({
  description: z.string().optional(),
  config: configMap.optional(),
  devices: devicesMap.optional(),
});
export type ProfilePatch = z.infer<typeof ProfilePatch>;

export const ProfilesPost = ProfilePut.extend({ name: profileName });
export type ProfilesPost = z.infer<typeof ProfilesPost>;

/** Rename. */
export const ProfilePost = z.looseObject({ name: profileName });
export type ProfilePost = z.infer<typeof ProfilePost>;
