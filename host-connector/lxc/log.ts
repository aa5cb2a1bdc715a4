/** What LXC wrote about a failure, in a form a user can read. Pure. */

/** The most reasons that go into one message, and how long it may get. */
const MAX_REASONS = 4;
const MAX_LENGTH = 1000;

/** `lxc-start <name> 20261120190000.123 ERROR    start - ../src/lxc/start.c:lxc_spawn:1734 - Failed to ...` */
const ERROR_LINE = /\sERROR\s+\S+ - \S+ - (.*)$/;
/** Lines that follow from others, or that every start writes. */
const NOISE = [
  /^Unsupported config key/,
  /^The container failed to start/,
  /^To get more details, run the container in foreground/,
  /^Additional information can be obtained by setting the/,
  /^Received container state "ABORTING" instead of "RUNNING"/,
  /^Failed to initialize container/,
  /^Failed to spawn container/,
  /^Failed to create the (?:configured )?network/,
  /^No such file or directory - Failed to create network device/,
  /^An error occurred in another process/,
  /^No such file or directory - Failed to receive the container state/,
];

/** The reasons in an LXC log, first cause first; empty when it names none. */
export function reasonsIn(log: string): string {
  const reasons: string[] = [];
  for (const line of log.split('\n')) {
    const reason = ERROR_LINE.exec(line)?.[1]
      ?.replaceAll(/\p{Cc}+/gu, ' ')
      .trim();
    if (!reason || reasons.includes(reason) || NOISE.some((noise) => noise.test(reason))) continue;
    reasons.push(reason);
    if (reasons.length === MAX_REASONS) break;
  }
  return reasons.join('; ').slice(0, MAX_LENGTH);
}
