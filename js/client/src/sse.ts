// Server-sent events out of the text of a stream, after https://html.spec.whatwg.org/multipage/server-sent-events.html:
// EventSource can carry no Authorization, and Node 20 has none.

export interface Message {
  readonly event: string;
  readonly data: string;
  /** The last id that was sent, with this event or before. */
  readonly id: string;
}

export const EVENT_CHARS_MAX = 16 * 1024 * 1024;

/** A function that takes the text as it comes, in any pieces, and calls `take` for each event. */
export function sseParser(
  take: (message: Message) => void, retry: (ms: number) => void, id = "",
): (text: string) => void {
  let rest = "";
  let event = "";
  let data: string[] = [];
  let chars = 0;

  function field(name: string, value: string): void {
    if (name === "data") data.push(value);
    else if (name === "event") event = value;
    else if (name === "id" && !value.includes("\0")) id = value;
    else if (name === "retry" && /^\d+$/.test(value)) retry(Number(value));
  }

  function line(text: string): void {
    if (text) {
      const colon = text.indexOf(":");
      chars += text.length;
      if (colon) field(colon < 0 ? text : text.slice(0, colon), colon < 0 ? "" : text.slice(colon + 1).replace(/^ /, ""));
      return;
    }
    if (data.length) take({ event: event || "message", data: data.join("\n"), id });
    event = "";
    data = [];
    chars = 0;
  }

  return (text) => {
    // A CR at the end waits: the LF that belongs to it may come with the next piece.
    const lines = (rest + text).split(/\r\n|\n|\r(?=[^\n])/);
    rest = lines.pop() ?? "";
    lines.forEach(line);
    if (chars + rest.length > EVENT_CHARS_MAX) throw new RangeError("the event is too long");
  };
}
