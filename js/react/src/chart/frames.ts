/** Drawing, once a frame for all charts together: what is due is done in one go, so layout is read and written once. */

const due = new Set<() => void>();
let frame = 0;

/** Do it in the next frame; asked twice it is done once. A hidden page has no frames, so it waits there. */
export function inNextFrame(draw: () => void): void {
  due.add(draw);
  frame ||= requestAnimationFrame(drawAll);
}

export function notAnyMore(draw: () => void): void {
  due.delete(draw);
  if (!due.size) cancelAnimationFrame(frame), (frame = 0);
}

function drawAll(): void {
  frame = 0;
  const drawing = [...due];
  due.clear();
  for (const draw of drawing) draw();
}
