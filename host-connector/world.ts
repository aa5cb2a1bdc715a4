import type { LinkWorld } from './link/connection.ts';

/** The real clock, timers and chance. */
export const realWorld: LinkWorld = {
  now: () => performance.now(),
  random: () => Math.random(),
  schedule: (ms, task) => {
    const timer = setTimeout(task, ms);
    return () => clearTimeout(timer);
  },
};
