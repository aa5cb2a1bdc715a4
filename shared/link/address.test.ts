import { describe, expect, it } from 'vitest';

import { LINK_PATH, websocketUrl } from './address.ts';

describe('the URL of a websocket', () => {
  it('is the API’s own when nothing else is said', () => {
    expect(websocketUrl('https://fleet.example.org:8443', undefined, LINK_PATH)).toBe(
      'wss://fleet.example.org:8443/1.0/fleet/link',
    );
    expect(websocketUrl('https://fleet.example.org', undefined, '/1.0/events?type=lifecycle')).toBe(
      'wss://fleet.example.org/1.0/events?type=lifecycle',
    );
  });

  it('carries path and parameters to a gateway that has no paths', () => {
    const stage = 'wss://abc123.execute-api.eu-central-1.amazonaws.com/live';
    expect(websocketUrl('https://fleet.example.org', stage, '/1.0/events?type=lifecycle,logging')).toBe(
      `${stage}?path=%2F1.0%2Fevents&type=lifecycle%2Clogging`,
    );
    expect(websocketUrl('https://fleet.example.org', 'wss://link.example.org', LINK_PATH)).toBe(
      'wss://link.example.org/?path=%2F1.0%2Ffleet%2Flink',
    );
  });
});
