/** State changes of all containers, from one long-lived `lxc-monitor`. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { HostPaths } from '../host/paths.ts';

/** LXC's own words for a state. */
type LxcState = 'STOPPED' | 'STARTING' | 'RUNNING' | 'STOPPING' | 'ABORTING' | 'FREEZING' | 'FROZEN' | 'THAWED';

/** `exited`: the exit status of the container's init, which comes just before STOPPED. */
export type LxcEvent =
  | { readonly kind: 'state'; readonly id: string; readonly state: LxcState }
  | { readonly kind: 'exited'; readonly id: string; readonly status: number };

const RESTART_MIN_MS = 500;
const RESTART_MAX_MS = 30_000;
/** A monitor that lived this long was healthy: the next restart is a first one again. */
const HEALTHY_MS = 60_000;

/** Runs until {@link Monitor.close}. */
export interface Monitor {
  close(): void;
}

/** What a monitor tells. `restarted`: events may have been missed, look at everything once. */
export interface MonitorListener {
  event(event: LxcEvent): void;
  restarted(reason: string): void;
}

/** Watches all containers below a folder. When the child dies it is started again, later each time. */
export function watchContainers(paths: HostPaths, listener: MonitorListener): Monitor {
  let closed = false;
  let child: ChildProcess | undefined;
  let timer: NodeJS.Timeout | undefined;
  let delay = RESTART_MIN_MS;

  const start = (): void => {
    const began = performance.now();
    const running = spawn('lxc-monitor', ['-P', paths.lxcpath, '-n', '.*'], {
      stdio: ['ignore', 'pipe', 'ignore'],
      cwd: '/',
    });
    child = running;
    const lines = createInterface({ input: running.stdout });
    lines.on('line', (line) => {
      const event = parseMonitorLine(line);
      if (event) listener.event(event);
    });
    const ended = (reason: string): void => {
      lines.close();
      if (closed || child !== running) return;
      child = undefined;
      delay = performance.now() - began > HEALTHY_MS ? RESTART_MIN_MS : Math.min(delay * 2, RESTART_MAX_MS);
      timer = setTimeout(() => {
        start();
        listener.restarted(reason);
      }, delay);
    };
    running.once('error', (error) => ended(error.message));
    running.once('exit', (code, signal) => ended(`lxc-monitor ended with ${String(signal ?? code)}`));
  };
  start();
  return {
    close: () => {
      closed = true;
      clearTimeout(timer);
      child?.kill('SIGKILL');
    },
  };
}

/** `'<id>' changed state to [RUNNING]` or `'<id>' exited with status [0]`; undefined for anything else. */
export function parseMonitorLine(line: string): LxcEvent | undefined {
  const state = /^'([^']+)' changed state to \[([A-Z]+)\]$/.exec(line);
  if (state?.[1] && state[2]) return { kind: 'state', id: state[1], state: state[2] as LxcState };
  const exit = /^'([^']+)' exited with status \[(-?\d+)\]$/.exec(line);
  return exit?.[1] ? { kind: 'exited', id: exit[1], status: Number(exit[2]) } : undefined;
}
