/** Numbers as LXD writes them. Each reader returns undefined for text that is not what it reads. */

const DECIMAL = 1000;
const BINARY = 1024;

/** Kernels know at most this many processors; a range is never expanded beyond it. */
const MAX_CPU = 8191;

const POWERS = ['', 'k', 'M', 'G', 'T', 'P', 'E'];

/** A whole number, negative allowed, that a double holds exactly. */
export function readInteger(text: string): number | undefined {
  return /^-?[0-9]{1,15}$/.test(text) ? Number(text) : undefined;
}

/**
 * Bytes of "512MiB" (1024²), "1GB" (1000³), "4096" or "4096B". Suffixes as in LXD's `units.ParseByteSizeString`;
 * what exceeds 2^53 is refused.
 */
export function readSize(text: string): number | undefined {
  return scaled(/^([0-9]{1,16})(?:([kKMGTPE]?)(i?)(?:B|bytes))?$/.exec(text));
}

/** Bits a second of "100Mbit" (1000²), "1Gibit" (1024³) or "1000000". */
export function readBitRate(text: string): number | undefined {
  return scaled(/^([0-9]{1,16})(?:([kKMGTPE]?)(i?)bit)?$/.exec(text));
}

function scaled(match: RegExpExecArray | null): number | undefined {
  if (match === null) return undefined;
  const [, digits = '', prefix = '', binary = ''] = match;
  const power = POWERS.indexOf(prefix === 'K' ? 'k' : prefix);
  if (binary !== '' && power === 0) return undefined;
  const value = Number(digits) * (binary === '' ? DECIMAL : BINARY) ** power;
  return Number.isSafeInteger(value) ? value : undefined;
}

/** 50 of "50%"; between 1 and 100. */
export function readPercent(text: string): number | undefined {
  const value = /^[0-9]{1,3}%$/.test(text) ? Number(text.slice(0, -1)) : 0;
  return value >= 1 && value <= 100 ? value : undefined;
}

/** "2" is a number of processors to be chosen for the instance; "0-3", "1,3" and "1-1" name them. */
export type CpuLimit = { readonly count: number } | { readonly set: readonly number[] };

/** Reads `limits.cpu`. */
export function readCpu(text: string): CpuLimit | undefined {
  if (/^[0-9]{1,4}$/.test(text)) {
    const count = Number(text);
    return count >= 1 && count <= MAX_CPU ? { count } : undefined;
  }
  const set = readCpuSet(text);
  return set && { set };
}

/** The numbers of "0-3,7", ascending; none may be named twice. */
export function readCpuSet(text: string): readonly number[] | undefined {
  const set = new Set<number>();
  for (const part of text.split(',')) {
    const match = /^([0-9]{1,4})(?:-([0-9]{1,4}))?$/.exec(part);
    if (match === null) return undefined;
    const low = Number(match[1]);
    const high = Number(match[2] ?? match[1]);
    if (low > high || high > MAX_CPU) return undefined;
    for (let cpu = low; cpu <= high; cpu++) {
      if (set.has(cpu)) return undefined;
      set.add(cpu);
    }
  }
  return [...set].sort((a, b) => a - b);
}

/** A share counts only under contention; a quota always: so many microseconds in each period, over all processors. */
export type CpuAllowance =
  | { readonly percent: number }
  | { readonly quotaMicros: number; readonly periodMicros: number };

/** The kernel refuses other CFS periods. */
const PERIOD_MILLIS = { min: 1, max: 1000 };

/** Reads `limits.cpu.allowance`: "50%" (soft) or "25ms/100ms" (hard). */
export function readCpuAllowance(text: string): CpuAllowance | undefined {
  const percent = readPercent(text);
  if (percent !== undefined) return { percent };
  const match = /^([0-9]{1,7})ms\/([0-9]{1,4})ms$/.exec(text);
  if (match === null) return undefined;
  const [quota, period] = [Number(match[1]), Number(match[2])];
  const ok = quota >= 1 && period >= PERIOD_MILLIS.min && period <= PERIOD_MILLIS.max;
  return ok ? { quotaMicros: quota * 1000, periodMicros: period * 1000 } : undefined;
}

/** A resource limit of one process; "unlimited" stands as itself. */
export interface Rlimit {
  readonly soft: string;
  readonly hard: string;
}

/** Reads `limits.kernel.*`: "1024", "unlimited" or "1024:4096". */
export function readRlimit(text: string): Rlimit | undefined {
  const match = /^([0-9]{1,19}|unlimited)(?::([0-9]{1,19}|unlimited))?$/.exec(text);
  const soft = match?.[1];
  return soft === undefined ? undefined : { soft, hard: match?.[2] ?? soft };
}
