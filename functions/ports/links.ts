import type { DownFrame } from '#shared/link/frames.ts';

/** Sends to open websockets: the management API of API Gateway, or the local gateway. */
export interface Links {
  /**
   * `gone`: no such connection any more (410). A `sent` frame was accepted by the gateway, which is not delivery.
   * @throws FairleadError `unavailable` when throttled, `protocol` when the frame is too large.
   */
  post(connection: string, frame: DownFrame): Promise<'sent' | 'gone'>;
  /** Sends one text as it is (LXD's events socket has its own form). */
  postText(connection: string, text: string): Promise<'sent' | 'gone'>;
  /** Closes a connection; closing what is gone is no error. */
  close(connection: string): Promise<void>;
}
