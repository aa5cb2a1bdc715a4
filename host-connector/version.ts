import manifest from '../package.json' with { type: 'json' };

/** Of the connector, which is that of the whole package. */
export const CONNECTOR_VERSION: string = manifest.version;
