import type { InstanceReport } from '#shared/link/commands.ts';
import type { UpFrame } from '#shared/link/frames.ts';
import { MAX_FRAME_BYTES, REPORT_BATCH } from '#shared/link/limits.ts';
import type { Host } from './host.ts';
import { Lane } from './lanes.ts';
import { isHere } from './roles.ts';

/** Instances measured at a time for a full report. */
const MAX_LOOKS = 8;
/** Of a frame, what is not instances. */
const ENVELOPE_BYTES = 200;
/** As many ids as the last frame may name. */
const MAX_HELD = 600;

type ReportFrame = Omit<Extract<UpFrame, { t: 'report' }>, 'n'>;

/** Everything this host holds, as it is now, in frames without their numbers. Instances that are being made are told by the command that makes them. */
export async function fullReport(host: Host): Promise<ReportFrame[]> {
  const seq = host.observer.next();
  const lane = new Lane(MAX_LOOKS, Infinity);
  const roles = host.roles.all().filter(isHere);
  const looks = await Promise.all(roles.map((role) => lane.run(() => host.observer.observe(role))));
  const held = host.roles
    .all()
    .filter(({ role }) => role === 'owner' || role === 'leaving')
    .map(({ spec }) => spec.id);
  const reports = looks.map(({ report }) => report);
  return packReport(seq, reports, held);
}

/**
 * Reports in frames that fit the link. The last one is marked and names all that is held; a report that is too large alone goes without
 * its measurement. Pure.
 */
export function packReport(seq: number, reports: readonly InstanceReport[], held: readonly string[]): ReportFrame[] {
  const batches: InstanceReport[][] = [];
  let room = 0;
  for (const report of reports.map(fitting)) {
    const bytes = sizeOf(report);
    let batch = batches.at(-1);
    if (!batch || batch.length === REPORT_BATCH || bytes > room) {
      batches.push((batch = []));
      room = MAX_FRAME_BYTES - ENVELOPE_BYTES;
    }
    batch.push(report);
    room -= bytes;
  }
  const names = held.length <= MAX_HELD ? { held: [...held] } : {};
  if (batches.length === 0 || sizeOf(names) > room) batches.push([]);
  return batches.map((instances, index) => {
    const last = index === batches.length - 1;
    return { t: 'report', instances, seq, last, ...(last && names) };
  });
}

function fitting(report: InstanceReport): InstanceReport {
  if (sizeOf(report) <= MAX_FRAME_BYTES - ENVELOPE_BYTES) return report;
  const { measurement: _tooLarge, ...rest } = report;
  return rest;
}

/** Bytes in the frame, with the comma. */
function sizeOf(part: unknown): number {
  return Buffer.byteLength(JSON.stringify(part)) + 1;
}
