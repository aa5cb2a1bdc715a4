/** The path of the link; the other websocket of the API is LXD's `/1.0/events`. */
export const LINK_PATH = '/1.0/fleet/link';

/**
 * The URL of a websocket to a path of the API.
 * @param publicUrl where the control plane is, http or https
 * @param linkUrl where its websockets are opened when that is elsewhere: API Gateway has another host for them, and no paths, so the path goes along
 *   as the parameter `path`
 */
export function websocketUrl(publicUrl: string, linkUrl: string | undefined, path: string): string {
  if (linkUrl === undefined) return publicUrl.replace(/^http/, 'ws') + path;
  const wanted = new URL(path, publicUrl);
  const url = new URL(linkUrl);
  url.searchParams.set('path', wanted.pathname);
  for (const [name, value] of wanted.searchParams) url.searchParams.append(name, value);
  return url.href;
}

/**
 * A masking key of zeros, for `ws`. Masks keep plain-text proxies from taking a frame for a request (RFC 6455 §10.3). Ours go through TLS, where
 * nobody looks, and masking and unmasking is a fifth of what a stream costs both ends and the gateway.
 */
export function unmasked(mask: Uint8Array): void {
  mask.fill(0);
}
