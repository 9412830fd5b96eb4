// Looks every half minute whether a state of /status has changed, and writes what has: the sentence at the top, which is
// read out once, and the services' states. Nothing is loaded again under who reads: for the days there is a link.

import { SHAPES } from "/hms-status.js";

const EVERY_MS = 30_000;
const states = (status) => JSON.stringify([status.message, status.services.map((one) => [one.name, one.state])]);
let known = "";

function show(place, state, words, base) {
  place.className = `${base} ${state}`;
  const icon = place.querySelector(".icon");
  icon.setAttribute("class", `icon ${state}`);
  icon.querySelector("path").setAttribute("d", SHAPES[state] ?? SHAPES.unknown);
  place.lastChild.textContent = words;
}

function showAll(status) {
  document.title = `${status.title}: ${status.words}`;
  const places = document.querySelectorAll(".services .state");
  if (places.length !== status.services.length) return location.reload(); // another page by now
  status.services.forEach((service, at) => show(places[at], service.state, service.words, "state"));
  show(document.querySelector(".banner"), status.state, status.sentence, "banner");
  document.getElementById("changed").hidden = false;
}

async function look() {
  const answer = await fetch("/status.json", { credentials: "omit" });
  if (!answer.ok) return;
  const status = await answer.json();
  if (known && states(status) !== known) showAll(status);
  known = states(status);
  const moment = new Date(status.updated * 1000);
  const time = document.getElementById("updated");
  time.dateTime = moment.toISOString();
  time.textContent = `${moment.toISOString().slice(0, 16).replace("T", ", ")} UTC`;
}

const lookSafely = () => look().catch(() => undefined); // what is on the page says when it was true
setTimeout(lookSafely, 1_000);
setInterval(() => document.hidden || lookSafely(), EVERY_MS);
