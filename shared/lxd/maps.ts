/** The two string maps that instances and profiles carry, and how they are read. What the keys mean is shared/config's. */
import * as z from 'zod';

/** Configuration keys to values; every value is a string, as in LXD. */
export type Config = Record<string, string>;

/** Options of one device; `type` says which. */
export type Device = Record<string, string>;

/** Device name to options. */
export type Devices = Record<string, Device>;

/** A map that clients may leave out or send as null; both read as empty. */
export const configMap = nullAsEmpty(z.record(z.string(), z.string()));
/** As {@link configMap}, one level deeper. */
export const devicesMap = nullAsEmpty(z.record(z.string(), z.record(z.string(), z.string())));

function nullAsEmpty<V extends z.ZodType>(map: z.ZodRecord<z.ZodString, V>) {
  return map.nullish().transform((value): Record<string, z.output<V>> => value ?? {});
}
