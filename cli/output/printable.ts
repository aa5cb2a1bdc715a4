/**
 * Text that came from a guest, an image or a host, made safe to print: control characters could otherwise drive the user's terminal
 * (move the cursor, set its title, answer on its behalf). Line feeds stay where `lines` says so.
 */
export function printable(text: string, lines: 'keep lines' | 'one line' = 'one line'): string {
  // oxlint-disable-next-line no-control-regex -- finding control characters is the purpose
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, (char) =>
    char === '\n' && lines === 'keep lines' ? char : escape(char),
  );
}

function escape(char: string): string {
  const code = char.charCodeAt(0);
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`;
}
