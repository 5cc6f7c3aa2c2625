// The page: a photo is dropped, chosen or pasted, sent to /v1/search, and the products found are shown.
"use strict";

const MAX_BYTES = 10 * 2 ** 20;
const RELEASE_POLL_MS = 5000;

// What a person can do about the reasons for which the service refuses.
const ADVICE = {
  EMPTY: "That file is empty. Please choose another photo.",
  NOT_IMAGE: "That file is not a picture. Please choose a JPEG, PNG, WebP, GIF or BMP file.",
  UNSUPPORTED_FORMAT: "That kind of picture cannot be read. Please choose a JPEG, PNG, WebP, GIF or BMP file.",
  TRUNCATED: "That picture is damaged or incomplete. Please choose another photo.",
  TOO_LARGE: "That picture has too many pixels: at most 40 million, and 12,000 on a side.",
  TOO_SMALL: "That picture is too small: at least 16 pixels on a side.",
  ASPECT: "That picture is too long and narrow.",
  BODY_TOO_LARGE: "The photo must be at most 10 MiB.",
  NO_RELEASE: "There is nothing to search yet. Please try again in a moment.",
  ENCODER_UNAVAILABLE: "The service is busy. Please try again in a moment.",
  UNKNOWN_CATEGORY: "That category is no longer in the catalogue. Please choose another one.",
};

const element = (id) => document.getElementById(id);
const results = document.querySelector(".results");

let photo = null; // Blob: what is searched for
let pending = null; // AbortController of the search under way; a newer one replaces it
let shownRelease = null;

function tell(message) {
  element("alert").textContent = message;
  element("alert").hidden = !message;
}

async function readAnswer(response) {
  const answer = await response.json();
  if (!response.ok) {
    const { code, message } = answer.error;
    throw new Error(ADVICE[code] ?? `${message} (${code})`);
  }
  return answer;
}

function choosePhoto(blob) {
  if (!blob) return;
  if (!blob.type.startsWith("image/")) {
    tell(ADVICE.NOT_IMAGE);
    return;
  }
  if (blob.size > MAX_BYTES) {
    tell(ADVICE.BODY_TOO_LARGE);
    return;
  }
  photo = blob;
  const preview = element("preview");
  if (preview.src) URL.revokeObjectURL(preview.src);
  preview.src = URL.createObjectURL(blob);
  showPreview(true);
  search();
}

function showPreview(shown) {
  element("preview").hidden = !shown;
  element("again").hidden = !shown;
  element("invitation").hidden = shown;
  element("drop").classList.toggle("filled", shown);
}

async function search() {
  if (!photo) return;
  pending?.abort();
  const mine = (pending = new AbortController());
  results.setAttribute("aria-busy", "true");
  tell("");
  const body = new FormData();
  body.append("image", photo, "photo");
  body.append("k", element("k").value);
  body.append("category", element("category").value);
  try {
    const started = performance.now();
    const response = await fetch("/v1/search", { method: "POST", body, signal: mine.signal });
    showAnswer(await readAnswer(response), performance.now() - started);
  } catch (error) {
    if (error.name !== "AbortError") showFailure(error);
  } finally {
    if (pending === mine) results.removeAttribute("aria-busy");
  }
}

function showAnswer(answer, roundTripMs) {
  const { decode, embed, search: searching, total } = answer.latency_ms;
  const ms = (value) => value.toFixed(1);
  const count = answer.results.length;
  element("summary").textContent =
    `${count} ${count === 1 ? "product" : "products"} from release ${answer.release} in ${ms(total)} ms` +
    ` (decode ${ms(decode)}, embed ${ms(embed)}, search ${ms(searching)})`;
  element("summary").title = `${ms(roundTripMs)} ms with the way to the service and back`;
  element("grid").replaceChildren(...answer.results.map(makeCard));
  element("empty").hidden = count > 0;
  if (answer.release !== shownRelease) showRelease();
}

function showFailure(error) {
  tell(error instanceof TypeError ? "The service cannot be reached. Please try again." : error.message);
  element("summary").textContent = "";
  element("grid").replaceChildren();
  element("empty").hidden = false;
}

function makeCard(result) {
  const card = element("card").content.firstElementChild.cloneNode(true);
  const part = (name) => card.querySelector(name);
  const name = result.title || result.product_id;
  part("img").src = result.thumbnail_url;
  part(".rank").textContent = result.rank;
  part(".name").textContent = name;
  part(".name").title = result.product_id;
  part(".category").textContent = result.category || "no category";
  part(".score").textContent = result.score.toFixed(3);
  part(".score").title = "similarity: 1 is the same picture";
  part(".price").textContent = result.price === null ? "" : result.price.toFixed(2);
  part(".gauge").style.setProperty("--score", `${100 * Math.min(1, Math.max(0, result.score))}%`);
  part("button").addEventListener("click", () => searchLike(result.thumbnail_url));
  return card;
}

async function searchLike(url) {
  try {
    const response = await fetch(url);
    if (!response.ok) throw new Error("That picture is no longer available. Please search again.");
    choosePhoto(await response.blob());
    window.scrollTo({ top: 0 });
  } catch (error) {
    showFailure(error);
  }
}

async function showRelease() {
  try {
    const release = await readAnswer(await fetch("/v1/release"));
    if (release.release === shownRelease) return;
    shownRelease = release.release;
    const number = (value) => value.toLocaleString("en");
    element("release").textContent =
      `Release ${release.release} · ${number(release.num_products)} products · ${number(release.num_images)} images`;
    fillCategories(release.categories);
  } catch (error) {
    shownRelease = null;
    element("release").textContent =
      error instanceof TypeError ? "The service cannot be reached" : "Waiting for the first release";
  }
}

function fillCategories(categories) {
  const select = element("category");
  const chosen = select.value;
  const options = categories.map(({ path, num_images }) => {
    const levels = path.split(" > ");
    const indent = "\u2003".repeat(levels.length - 1);
    return new Option(`${indent}${levels.at(-1)} (${num_images.toLocaleString("en")})`, path);
  });
  select.replaceChildren(new Option("All categories", ""), ...options);
  select.value = categories.some(({ path }) => path === chosen) ? chosen : "";
}

function takeDrop(event) {
  event.preventDefault();
  element("drop").classList.remove("over");
  choosePhoto(event.dataTransfer.files[0]);
}

element("preview").addEventListener("error", () => showPreview(false));
element("file").addEventListener("change", (event) => choosePhoto(event.target.files[0]));
element("category").addEventListener("change", search);
element("k").addEventListener("input", () => { element("k-shown").value = element("k").value; });
element("k").addEventListener("change", search);
element("form").addEventListener("submit", (event) => event.preventDefault());
// Dropped beside the field, a file would otherwise replace the page.
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  element("drop").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) element("drop").classList.remove("over");
});
document.addEventListener("drop", takeDrop);
document.addEventListener("paste", (event) => choosePhoto(event.clipboardData.files[0]));

showRelease();
setInterval(showRelease, RELEASE_POLL_MS);
