import { describe, expect, it } from 'vitest';
import { debianMirror, findDebianMirror } from './base.ts';

describe("the mirror from apt's sources", () => {
  it('is found in the deb822 format', () => {
    expect(findDebianMirror('Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\n')).toBe(
      'http://mirror.example/debian',
    );
  });

  it('is found in the one-line format, with and without options', () => {
    expect(findDebianMirror('deb http://mirror.example/debian/ trixie main')).toBe('http://mirror.example/debian/');
    expect(findDebianMirror('deb [signed-by=/k.gpg] https://m.example/debian sid main')).toBe(
      'https://m.example/debian',
    );
  });

  it('is neither the security archive nor another vendor', () => {
    const sources =
      'URIs: http://m.example/debian-security\ndeb https://packages.example/node nodistro main\ndeb http://u.example/ubuntu noble main';
    expect(findDebianMirror(sources)).toBeUndefined();
  });

  it('can be overridden', async () => {
    expect(await debianMirror({ FAIRLEAD_DEBIAN_MIRROR: 'http://mine.example/debian' })).toBe(
      'http://mine.example/debian',
    );
  });
});
