import { createFunctions } from '../../functions/create.ts';
import { bootstrapLocalUser } from '../../functions/domain/trust/local.ts';
import type { ControlPlane } from './up.ts';

/** The functions as the embedded deployment runs them. */
export const controlPlane: ControlPlane = { createFunctions, bootstrapLocalUser };
