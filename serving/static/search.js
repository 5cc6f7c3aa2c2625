// The page: a photo is dropped, chosen or pasted, sent to /v1/search, and the products found are shown.
"use strict";

const MAX_BYTES = 10 * 2 ** 20;
const USEFUL_BYTES = 2 ** 20;
const USEFUL_SIDE_PX = 1024; // far more than any encoder looks at
const JPEG_QUALITY = 0.9;
const READ_BY_SERVICE = ["image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp"];
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
  BODY_TIMEOUT: "The photo arrived too slowly. Please try again where the connection is better.",
  NO_RELEASE: "There is nothing to search yet. Please try again in a moment.",
  ENCODER_UNAVAILABLE: "The service is busy. Please try again in a moment.",
  UNKNOWN_CATEGORY: "That category is no longer in the catalogue. Please choose another one.",
};

const element = (id) => document.getElementById(id);
const results = document.querySelector(".results");

let photo = null; // Blob: what is searched for, ready to be sent
let pending = null; // AbortController of what is under way; a newer one replaces it
let shownRelease = null; // its manifest's hash: a rebuilt store begins its versions anew
let usefulSidePx = USEFUL_SIDE_PX;

// A file that no search can use: what was shown of the one before must not stay beside the complaint.
class RefusedFile extends Error {}

function tell(message) {
  element("alert").textContent = message;
  element("alert").hidden = !message;
}

async function readAnswer(response) {
  const answer = await response.json();
  if (!response.ok) {
    const { code, field, message } = answer.error;
    const isOfFile = field === "image" || code === "BODY_TOO_LARGE";
    throw new (isOfFile ? RefusedFile : Error)(ADVICE[code] ?? `${message} (${code})`);
  }
  return answer;
}

// Does one thing at a time: what was under way is dropped, and its outcome with it.
async function attempt(work) {
  pending?.abort();
  const mine = (pending = new AbortController());
  results.setAttribute("aria-busy", "true");
  tell("");
  try {
    await work(mine.signal);
  } catch (error) {
    if (!mine.signal.aborted) showFailure(error);
  } finally {
    if (pending === mine) results.removeAttribute("aria-busy");
  }
}

function choosePhoto(file) {
  if (!file) return;
  attempt(async (signal) => {
    photo = null;
    showPreview(file);
    const prepared = await prepare(file);
    signal.throwIfAborted();
    photo = prepared;
    await search(signal);
  });
}

function searchAgain() {
  if (photo) attempt(search);
}

async function search(signal) {
  const body = new FormData();
  body.append("image", photo, "photo");
  body.append("k", element("k").value);
  body.append("category", element("category").value);
  const started = performance.now();
  const response = await fetch("/v1/search", { method: "POST", body, signal });
  showAnswer(await readAnswer(response), performance.now() - started);
}

// What is worth sending of a file: a photo of many megapixels says no more to the encoder than a small copy.
async function prepare(file) {
  const bitmap = await decode(file);
  if (!bitmap && !file.type.startsWith("image/")) throw new RefusedFile(ADVICE.NOT_IMAGE);
  const prepared = (bitmap && isWorthCopying(bitmap, file) && (await copySmall(bitmap))) || file;
  bitmap?.close();
  if (prepared.size > MAX_BYTES) throw new RefusedFile(ADVICE.BODY_TOO_LARGE);
  return prepared;
}

async function decode(file) {
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return null; // the service may read what this browser cannot, and says better what is wrong
  }
}

function isWorthCopying(bitmap, file) {
  const isLarge = Math.max(bitmap.width, bitmap.height) > usefulSidePx || file.size > USEFUL_BYTES;
  return isLarge || !READ_BY_SERVICE.includes(file.type);
}

async function copySmall(bitmap) {
  const scale = Math.min(1, usefulSidePx / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // below transparent parts, as the service does
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", JPEG_QUALITY));
}

// Shows a file in the field, or, without one, the invitation.
function showPreview(file) {
  const preview = element("preview");
  URL.revokeObjectURL(preview.src);
  if (file) preview.src = URL.createObjectURL(file);
  else preview.removeAttribute("src");
  showInvitation(!file);
}

function showInvitation(shown) {
  element("preview").hidden = shown;
  element("again").hidden = shown;
  element("invitation").hidden = !shown;
  element("drop").classList.toggle("filled", !shown);
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
  if (answer.manifest_sha256 !== shownRelease) showRelease();
}

function showFailure(error) {
  if (error instanceof RefusedFile) {
    photo = null;
    showPreview(null);
  }
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
  part(".brand").textContent = result.brand;
  part(".price").textContent = priceText(result);
  part(".availability").textContent = result.availability === "in_stock" ? "" : result.availability.replaceAll("_", " ");
  if (/^https?:\/\//.test(result.url)) {
    part(".shop").href = result.url;
    part(".shop").hidden = false;
  }
  part(".gauge").style.setProperty("--score", `${100 * Math.min(1, Math.max(0, result.score))}%`);
  part("button").addEventListener("click", () => searchLike(result.thumbnail_url));
  return card;
}

function priceText({ price, currency }) {
  if (price === null) return "";
  if (!/^[A-Z]{3}$/.test(currency)) return `${price.toFixed(2)} ${currency}`.trim();
  return price.toLocaleString(undefined, { style: "currency", currency });
}

function searchLike(url) {
  attempt(async (signal) => {
    const response = await fetch(url, { signal });
    if (!response.ok) throw new Error("That picture is no longer available. Please search again.");
    choosePhoto(await response.blob());
    window.scrollTo({ top: 0 });
  });
}

async function showRelease() {
  try {
    const release = await readAnswer(await fetch("/v1/release"));
    if (release.manifest_sha256 === shownRelease) return;
    shownRelease = release.manifest_sha256;
    usefulSidePx = Math.max(USEFUL_SIDE_PX, release.longest_side_px);
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

function takeChoice(event) {
  choosePhoto(event.target.files[0]);
  event.target.value = ""; // so that the same file can be chosen once more
}

element("preview").addEventListener("error", () => showInvitation(true));
element("file").addEventListener("change", takeChoice);
element("category").addEventListener("change", searchAgain);
element("k").addEventListener("input", () => { element("k-shown").value = element("k").value; });
element("k").addEventListener("change", searchAgain);
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
