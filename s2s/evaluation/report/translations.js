// Translations of single sentences: search, order, and a few at a time.
{
  const STEP = 10;
  const [search, order, ahead, behind] = ["search", "order", "ahead", "behind"].map(byId);
  const systems = data.systems;
  const rows = data.sentences.map(([number, length, referenceLength, source, reference, scores, pieces]) => {
    const outputs = pieces.map((parts) => parts.join(""));
    const text = [source, reference, ...outputs].join("\n").toLowerCase();
    return { number, length, referenceLength, source, reference, scores, pieces, outputs, text };
  });
  const { source, target } = data.languages;
  let matches = rows;
  let shown = STEP;

  /** A value that rounds to 0.0 has no sign. */
  const signed = (value) => (value.toFixed(1) * 1 ? (value > 0 ? "+" : "−") : "") + Math.abs(value).toFixed(1);
  const gap = (row) => row.scores[ahead.selectedIndex] - row.scores[behind.selectedIndex];

  const orEmpty = (text, children = [text]) => (text.trim() ? children : [make("span", { class: "soft" }, "(empty)")]);

  /** Pieces that alternately match the reference and differ from it. */
  function marked(pieces) {
    return pieces.map((piece, place) => {
      if (place % 2 === 0) return piece;
      return piece ? make("mark", {}, piece) : make("mark", { class: "gap", title: "words of the reference are missing" });
    });
  }

  function article(row) {
    const list = make("dl", {});
    list.append(make("dt", {}, "source"), make("dd", { dir: "auto", lang: source }, ...orEmpty(row.source)));
    const reference = make("dd", { dir: "auto", lang: target, class: "reference" }, ...orEmpty(row.reference));
    list.append(make("dt", {}, "reference"), reference);
    systems.forEach((system, place) => {
      list.append(make("dt", {}, who(system), " ", make("span", { class: "score" }, row.scores[place].toFixed(1))));
      const same = row.pieces[place].length === 1 ? { class: "same" } : {};
      list.append(make("dd", { dir: "auto", lang: target, ...same }, ...orEmpty(row.outputs[place], marked(row.pieces[place]))));
    });
    let about = `· test sentence ${row.number}`;
    if (order.value === "difference") about += ` · ${signed(gap(row))} chrF++`;
    const heading = make("h3", {}, `${counted(row.length)} `, make("span", { class: "soft" }, about));
    return make("article", { class: "sample" }, heading, list);
  }

  function draw() {
    byId("list").replaceChildren(...matches.slice(0, shown).map(article));
    const count = matches.length === rows.length ? `${rows.length}` : `${matches.length} of ${rows.length}`;
    const beginning = shown < matches.length ? `, the first ${shown} of them below` : "";
    byId("matches").textContent = `${count} ${count === "1" ? "sentence" : "sentences"}${beginning}`;
    byId("more").hidden = shown >= matches.length;
  }

  /** Orders rows from short to long in rounds: each round has a few of all lengths. */
  function spread(sorted) {
    const every = Math.ceil(sorted.length / STEP);
    const order = sorted.map((_, place) => place).sort((a, b) => (a % every) - (b % every) || a - b);
    return order.map((place) => sorted[place]);
  }

  function choose() {
    const query = search.value.trim().toLowerCase();
    matches = rows.filter((row) => row.text.includes(query));
    if (order.value === "spread") matches = spread(matches);
    if (order.value === "long") matches.sort((a, b) => b.length - a.length);
    if (order.value === "difference") matches.sort((a, b) => gap(b) - gap(a));
    byId("which").hidden = order.value !== "difference";
    shown = STEP;
    draw();
  }

  /** The matching sentences in the format of sentences.csv. */
  function table() {
    const head = ["sentence", "source_length", "reference_length", "source", "reference", ...systems.flatMap((one) => [one, `${one} chrF++`])];
    const quoted = (value) => (/[",\r\n]/.test(value) ? `"${`${value}`.replaceAll('"', '""')}"` : `${value}`);
    const cells = (row) => [
      row.number,
      row.length,
      row.referenceLength,
      row.source,
      row.reference,
      ...row.outputs.flatMap((output, place) => [output, row.scores[place]]),
    ];
    return [head, ...matches.map(cells)].map((line) => `${line.map(quoted).join(",")}\r\n`).join("");
  }

  [ahead.selectedIndex, behind.selectedIndex] = data.pair.map((one) => systems.indexOf(one));
  if (systems.length < 2) order.querySelector("[value=difference]").remove();
  search.addEventListener("input", choose);
  for (const select of [order, ahead, behind]) select.addEventListener("change", choose);
  byId("more").addEventListener("click", () => {
    shown += STEP;
    draw();
  });
  byId("save-sentences").addEventListener("click", () => {
    download("sentences.csv", new Blob([table()], { type: "text/csv" }));
  });
  choose();
}
