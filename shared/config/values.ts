/** The kinds of values that configuration keys and device options take. */
import * as z from 'zod';
import { FairleadError } from '../errors.ts';
import { quote } from '../lxd/parse.ts';
import * as quantity from './quantities.ts';
import { rawLxcProblem, readRawLxc, type RawLxcLine } from './rawLxc.ts';

/** A kind of value: how it reads, and what to tell a user whose text does not read. */
export interface Kind<T> {
  readonly expected: string;
  /** May hold line breaks and tabs. Only for values that no line-based file of ours ever holds as they are. */
  readonly multiline?: true;
  /** The value, or undefined when the text is not of this kind. */
  readonly read: (text: string) => T | undefined;
  /** Says better than `expected` what is wrong with this text, as a phrase after its key. */
  readonly why?: (text: string) => string | undefined;
}

/** Longest value, in UTF-8 bytes. */
export const MAX_VALUE_BYTES = 64 * 1024;

const encoder = new TextEncoder();

/**
 * Why `text` is not of this kind, or undefined. The rule about control characters stands here, before any kind is asked,
 * so that no kind can forget it: liblxc ends a line at CR as well as LF, and NUL cuts it (measured, M15 of the threat model).
 */
export function valueProblem(kind: Kind<unknown>, text: string): string | undefined {
  if (text.length > MAX_VALUE_BYTES || encoder.encode(text).length > MAX_VALUE_BYTES) {
    return `is longer than ${MAX_VALUE_BYTES / 1024} KiB`;
  }
  if (hasControl(text, kind.multiline === true)) {
    return kind.multiline ? 'holds a control character' : 'holds a line break or another control character';
  }
  // As in LXD, an empty value is the same as none.
  if (text === '' || kind.read(text) !== undefined) return undefined;
  return kind.why?.(text) ?? `is ${quote(text)}; expected ${kind.expected}`;
}

/** The value of a text already found valid; throws `bad_config` otherwise. `key` names it. */
export function readValue<T>(kind: Kind<T>, key: string, text: string): T {
  const value = valueProblem(kind, text) === undefined ? kind.read(text) : undefined;
  if (value === undefined) {
    throw new FairleadError(
      'bad_config',
      `${key} ${valueProblem(kind, text) ?? `is empty; expected ${kind.expected}`}.`,
    );
  }
  return value;
}

function hasControl(text: string, multiline: boolean): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    const isBreak = code === 0x09 || code === 0x0a || code === 0x0d;
    if ((code < 0x20 && !(multiline && isBreak)) || code === 0x7f) return true;
  }
  return false;
}

const same = (text: string): string => text;

function matching(expected: string, pattern: RegExp): Kind<string> {
  return { expected, read: (text) => (pattern.test(text) ? text : undefined) };
}

function between(min: number, max: number): Kind<number> {
  const read = (text: string): number | undefined => {
    const value = quantity.readInteger(text);
    return value !== undefined && value >= min && value <= max ? value : undefined;
  };
  return { expected: `a whole number from ${min} to ${max}`, read };
}

/** One of these words. */
export function oneOf<const W extends string>(...words: W[]): Kind<W> {
  return { expected: words.join(' or '), read: (text) => words.find((word) => word === text) };
}

/** A list with commas, blanks around them allowed; each item matches. */
function listOf(expected: string, item: RegExp): Kind<string[]> {
  const read = (text: string): string[] | undefined => {
    const items = text.split(',').map((part) => part.trim());
    return items.every((part) => item.test(part)) ? items : undefined;
  };
  return { expected, read };
}

/** Lines that each match; blank lines do not count. */
function linesOf(expected: string, line: RegExp): Kind<string[]> {
  const read = (text: string): string[] | undefined => {
    const lines = text.split(/\r?\n/).filter((part) => part.trim() !== '');
    return lines.every((part) => line.test(part)) ? lines : undefined;
  };
  return { expected, multiline: true, read };
}

/** One line of any text. */
export const line: Kind<string> = { expected: 'one line of text', read: same };
/** Text of any number of lines. */
export const block: Kind<string> = { expected: 'text', multiline: true, read: same };

const TRUE = ['true', 'yes', '1', 'on'];
const FALSE = ['false', 'no', '0', 'off'];

/** A boolean in any of LXD's spellings. */
export const bool: Kind<boolean> = {
  expected: 'true or false',
  read: (text) => (TRUE.includes(text.toLowerCase()) ? true : FALSE.includes(text.toLowerCase()) ? false : undefined),
};

export const integer: Kind<number> = { expected: 'a whole number', read: quantity.readInteger };
export const uint32 = between(0, 0xffff_ffff);
export const priority = between(0, 10);
export const positive = between(1, Number.MAX_SAFE_INTEGER);
export const mtu = between(1280, 16_384);

export const size: Kind<number> = { expected: 'a size such as 512MiB or 10GB', read: quantity.readSize };
export const bitRate: Kind<number> = { expected: 'a rate such as 100Mbit', read: quantity.readBitRate };

export const memory: Kind<{ bytes: number } | { percent: number }> = {
  expected: "a size such as 512MiB, or a part of the host's memory such as 50%",
  read: (text) => {
    const percent = quantity.readPercent(text);
    if (percent !== undefined) return { percent };
    const bytes = quantity.readSize(text);
    return bytes === undefined || bytes === 0 ? undefined : { bytes };
  },
};

/** LXD: whether to swap; Incus also: how much. */
export const swap: Kind<boolean | number> = {
  expected: 'true, false, or a size such as 512MiB',
  // The order matters only for "0" and "1", which mean false and true in LXD.
  read: (text) => bool.read(text) ?? quantity.readSize(text),
};

/** Throughput or operations a second of a disk. */
export const diskRate: Kind<{ bytes: number } | { operations: number }> = {
  expected: 'a rate such as 30MB or 200iops',
  read: (text) => {
    const operations = /^([0-9]{1,9})iops$/.exec(text)?.[1];
    if (operations !== undefined) return { operations: Number(operations) };
    const bytes = quantity.readSize(text);
    return bytes === undefined ? undefined : { bytes };
  },
};

export const cpu: Kind<quantity.CpuLimit> = {
  expected: 'a number of processors such as 2, or which ones, such as 0-3 or 1,3',
  read: quantity.readCpu,
};
export const cpuSet: Kind<readonly number[]> = { expected: 'numbers such as 0-3 or 1,3', read: quantity.readCpuSet };
export const cpuAllowance: Kind<quantity.CpuAllowance> = {
  expected: 'a share such as 50%, or a time such as 25ms/100ms',
  read: quantity.readCpuAllowance,
};
export const rlimit: Kind<quantity.Rlimit> = {
  expected: 'a number, "unlimited", or soft and hard limit such as 1024:4096',
  read: quantity.readRlimit,
};

const CRON_FIELD = /^[0-9A-Za-z*/,-]+$/;
const CRON_ALIAS = /^@(?:hourly|daily|midnight|weekly|monthly|annually|yearly|startup|never)$/;

export const schedule: Kind<string[]> = {
  expected: 'a cron expression of five fields, or names such as "@daily, @startup"',
  read: (text) => {
    const isCron = (part: string) => part.split(' ').length === 5 && part.split(' ').every((f) => CRON_FIELD.test(f));
    const parts = text.toLowerCase().split(', ');
    return parts.every((part) => CRON_ALIAS.test(part) || isCron(part)) ? parts : undefined;
  },
};
export const expiry: Kind<string> = {
  expected: 'a time such as "1M 2H 3d 4w 5m 6y"',
  read: (text) => (text.split(' ').every((part) => /^[0-9]{1,6}[MHdwmy]$/.test(part)) ? text : undefined),
};
/** No template engine is behind it: "%d" is all there is (a template here read host files once, CVE-2025-54287). */
export const snapshotPattern = matching(
  'letters, digits and . _ - with at most one %d, beginning with a letter or digit',
  /^[A-Za-z0-9][A-Za-z0-9._-]{0,40}(?:%d)?[A-Za-z0-9._-]{0,20}$/,
);

export const modules = listOf('module names with commas between them', /^[A-Za-z0-9_-]{1,64}$/);
export const filesystems = listOf('names of file systems with commas between them', /^[a-z0-9_=-]{1,64}$/);
export const syscalls = linesOf('one system call a line', /^[a-z0-9_]+(?: [a-z0-9_,[\]<>!=& -]+)?$/);
export const idmaps = linesOf(
  'lines such as "both 1000 1000" or "uid 50-60 500-510"',
  /^(?:uid|gid|both) [0-9]{1,10}(?:-[0-9]{1,10})? [0-9]{1,10}(?:-[0-9]{1,10})?$/,
);

export const rawLxc: Kind<RawLxcLine[]> = {
  expected: 'lines "lxc.key = value"',
  multiline: true,
  read: (text) => (rawLxcProblem(text) === undefined ? readRawLxc(text) : undefined),
  why: rawLxcProblem,
};

export const interfaceName = matching(
  'an interface name of 2 to 15 letters, digits and . _ -',
  /^(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_.-]{1,14}$/,
);
/** Six bytes; the first must be even, for an odd one is a group address. */
export const hwaddr = matching(
  'a MAC address such as 00:16:3e:12:34:56',
  /^[0-9a-fA-F][02468aceACE](?::[0-9a-fA-F]{2}){5}$/,
);
export const mode = matching('an octal mode such as 0660', /^[0-7]{3,4}$/);
export const poolName = matching('a name of letters, digits and . _ -', /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/);

function address(version: 4 | 6): Kind<string> {
  const schema = version === 4 ? z.ipv4() : z.ipv6();
  const read = (text: string) => (text === 'none' || schema.safeParse(text).success ? text : undefined);
  return { expected: `an IPv${version} address, or none`, read };
}
export const ipv4 = address(4);
export const ipv6 = address(6);

/** An absolute path that is already in its simplest form: no "..", no ".", no empty part. */
export const absolutePath: Kind<string> = {
  expected: 'an absolute path without ".", ".." or "//"',
  read: (text) => {
    if (text === '/') return text;
    const [first, ...parts] = text.split('/');
    const plain = first === '' && parts.every((part) => part !== '' && part !== '.' && part !== '..');
    return plain && text.length <= MAX_PATH ? text : undefined;
  },
};
const MAX_PATH = 4095;
