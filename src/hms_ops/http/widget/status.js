// Looks every half minute whether a state of /status has changed. When one has, the page is loaded again, so that what
// is read out and shown is the server's own; otherwise only the time of the last look moves on.

const EVERY_MS = 30_000;
const states = (status) => JSON.stringify([status.message, status.services.map((one) => [one.name, one.state])]);
let known = "";

async function look() {
  const answer = await fetch("/status.json", { credentials: "omit" });
  if (!answer.ok) return;
  const status = await answer.json();
  if (known && states(status) !== known) return location.reload();
  known = states(status);
  const moment = new Date(status.updated * 1000);
  const time = document.getElementById("updated");
  time.dateTime = moment.toISOString();
  time.textContent = `${moment.toISOString().slice(0, 16).replace("T", ", ")} UTC`;
}

const lookSafely = () => look().catch(() => undefined); // what is on the page says when it was true
setTimeout(lookSafely, 1_000);
setInterval(() => document.hidden || lookSafely(), EVERY_MS);
