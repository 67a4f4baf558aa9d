"use strict";
// Controls of the page. Tables and pictures of all choices are in the page already; the script shows and hides them.
// Without it the page shows the first view of everything. Text is only ever set as text.

const data = JSON.parse(document.getElementById("data").textContent);
document.documentElement.classList.add("js");

const byId = (id) => document.getElementById(id);

/** An element with attributes and children, which are elements or text. */
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A system's line and name. */
function who(system) {
  const templates = [...document.querySelectorAll("template[data-who]")];
  return templates.find((one) => one.dataset.who === system).content.cloneNode(true);
}

/** `1 word`, `5 words` */
const counted = (length) => `${length} ${length === 1 ? data.unit.slice(0, -1) : data.unit}`;

function fill(select, options) {
  select.replaceChildren(...options.map(([value, text]) => make("option", { value }, text)));
}

function download(name, blob) {
  const link = make("a", { download: name, href: URL.createObjectURL(blob) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// Enter in a field must not reload the page.
for (const form of document.forms) form.addEventListener("submit", (event) => event.preventDefault());

// Radio buttons choose the visible view of their section.
for (const form of document.querySelectorAll("form.switch")) {
  const section = byId(form.dataset.switch);
  const show = () => {
    const chosen = [...form.querySelectorAll("input:checked")].map((input) => input.value).join(" ");
    for (const view of section.querySelectorAll("[data-view]")) view.hidden = view.dataset.view !== chosen;
  };
  form.addEventListener("change", show);
  show();
}

const baseline = byId("baseline");
if (baseline) {
  const show = () => {
    for (const one of document.querySelectorAll("[data-baseline]")) one.hidden = one.dataset.baseline !== baseline.value;
    for (const name of document.querySelectorAll("[data-name-of-baseline]")) name.textContent = baseline.value;
  };
  baseline.addEventListener("change", show);
  show();
}

/** A picture of the page as a standalone SVG, with the values of the page's CSS variables. */
function standalone(svg) {
  const values = getComputedStyle(document.documentElement);
  const [, , width, height] = svg.getAttribute("viewBox").split(/\s+/).map(Number);
  const copy = svg.cloneNode(true);
  copy.setAttribute("width", 2 * width);
  copy.setAttribute("height", 2 * height);
  copy.style.background = values.getPropertyValue("--paper").trim();
  const text = new XMLSerializer().serializeToString(copy);
  return text.replace(/var\((--[\w-]+)\)/g, (_, name) => values.getPropertyValue(name).trim().replaceAll('"', "'"));
}

async function picture(kind) {
  const view = document.querySelector("figure[data-view]:not([hidden])");
  const text = standalone(view.querySelector(".wide svg"));
  const name = `${view.dataset.stem}.${kind}`;
  if (kind === "svg") return download(name, new Blob([text], { type: "image/svg+xml" }));
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = make("canvas", { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext("2d");
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--paper");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0);
  return canvas.toBlob((blob) => download(name, blob));
}

for (const button of document.querySelectorAll("button[data-save]")) {
  button.addEventListener("click", () => picture(button.dataset.save));
}

addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details.numbers")) details.open = true;
});

// An incomplete page reloads itself, unless the reader has just used it.
const status = document.querySelector("[data-reload]");
if (status) {
  const wait = 1000 * Number(status.dataset.reload);
  let touched = -wait;
  for (const event of ["pointerdown", "keydown", "wheel", "touchmove"]) {
    addEventListener(event, () => { touched = performance.now(); }, { passive: true });
  }
  setInterval(() => { if (performance.now() - touched >= wait) location.reload(); }, wait);
}
