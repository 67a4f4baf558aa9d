// Attention weights of single translations: pointing at a word highlights the words of the other side.
if (data.attention.length) {
  const [sentence, system, head] = ["sentence", "attention-system", "head"].map(byId);
  const sides = { source: byId("source-words"), target: byId("target-words") };
  let map = null;
  let weights = null; // of the chosen head: percent, a row for each word of the translation

  const numbers = [...new Set(data.attention.map((one) => one.sentence))];
  const ofSentence = () => data.attention.filter((one) => one.sentence === Number(sentence.value));

  /** Sets the options of a select element and keeps the selection if it is still among them. */
  function refill(select, options) {
    const before = select.value;
    fill(select, options);
    if (options.some(([value]) => value === before)) select.value = before;
  }

  function word(text, side, place) {
    const kind = text === "(end)" ? "word end" : "word";
    return make("button", { type: "button", class: kind, "data-side": side, "data-place": place }, text);
  }

  function weight(target, source) {
    return weights[target * map.source.length + source];
  }

  /** Highlights the other side of one word and lists the highest weights as text. */
  function highlight(side, place) {
    const other = side === "target" ? "source" : "target";
    const weightsOfWord = map[other].map((_, at) => (side === "target" ? weight(place, at) : weight(at, place)));
    for (const button of sides[side].children) {
      button.classList.toggle("chosen", Number(button.dataset.place) === place);
      button.style.removeProperty("--w");
    }
    for (const button of sides[other].children) {
      button.classList.remove("chosen");
      button.style.setProperty("--w", weightsOfWord[Number(button.dataset.place)] / 100);
    }
    const strongest = weightsOfWord
      .map((share, at) => [share, map[other][at]])
      .filter(([share]) => share >= 5)
      .sort((a, b) => b[0] - a[0])
      .slice(0, 4);
    // <bdi> isolates each word, so right-to-left words do not change the direction of the line.
    const listed = strongest.flatMap(([share, text], at) => [at ? ", " : "", make("bdi", {}, text), ` ${share} %`]);
    if (!listed.length) listed.push("nothing above 5 %");
    byId("weights").replaceChildren(make("bdi", {}, map[side][place]), side === "target" ? " ← " : " → ", ...listed);
  }

  function heat() {
    const top = make("tr", {}, make("td", {}), ...map.source.map((text) => make("th", {}, make("span", {}, text))));
    const lines = map.target.map((text, row) => {
      const cells = map.source.map((_, column) => make("td", { style: `--w:${weight(row, column) / 100}` }));
      return make("tr", {}, make("th", {}, text), ...cells);
    });
    byId("heat").replaceChildren(make("thead", {}, top), make("tbody", {}, ...lines));
  }

  function draw() {
    refill(system, ofSentence().map((one) => [one.system, one.system]));
    map = ofSentence().find((one) => one.system === system.value);
    refill(head, Object.keys(map.heads).map((name) => [name, name]));
    weights = Uint8Array.from(atob(map.heads[head.value]), (letter) => letter.charCodeAt(0));
    for (const [side, paragraph] of Object.entries(sides)) {
      paragraph.replaceChildren(...map[side].map((text, place) => word(text, side, place)));
    }
    byId("map").textContent = `test sentence ${map.sentence}, ${map.system}, ${head.value}`;
    if (byId("all-weights").open) heat();
    highlight("target", 0);
  }

  function react(event) {
    const button = event.target.closest("button.word");
    if (button) highlight(button.dataset.side, Number(button.dataset.place));
  }

  fill(sentence, numbers.map((number) => {
    const one = data.attention.find((map) => map.sentence === number);
    const text = one.source.slice(0, -1).join(data.space);
    const short = text.length > 60 ? `${text.slice(0, 58)}…` : text;
    return [number, `${counted(one.length)} · test sentence ${number}: \u2068${short}\u2069`]; // isolated, as with <bdi>
  }));
  for (const paragraph of Object.values(sides)) {
    for (const kind of ["pointerover", "focusin", "click"]) paragraph.addEventListener(kind, react);
  }
  for (const select of [sentence, system, head]) select.addEventListener("change", draw);
  byId("all-weights").addEventListener("toggle", () => byId("all-weights").open && heat());
  draw();
}
