// "The backward in your hands": every number of an operation, forth and back, to point at, to change,
// to wiggle and to break.

// The checker names the mistakes on these (name_mistakes.py, which reads them as JSON); no weight is 0,
// because a 0 hides mistakes.
const FIRST_NUMBERS = {
  "convolution": {
    "x": [[1, 0, 2, 1, 0], [0, 3, 1, 0, 2], [2, 1, 0, 4, 1], [0, 2, 1, 1, 0], [1, 0, 3, 0, 2]],
    "weight": [[1, -2, -1], [2, 1, -3], [4, -1, 3]]
  },
  "maxPooling": {
    "x": [[1, 4, 2, 0, 7, 3], [3, 0, 5, 1, 6, 2], [8, 2, 0, 3, 1, 9], [6, 5, 4, 7, 2, 0]]
  },
  "transposedConvolution": {
    "x": [[1, 0, 2], [3, -1, 1], [0, 2, 1]],
    "weight": [[1, 2, -2], [4, 3, -1], [-3, 1, 2]]
  },
  "crossEntropy": { "x": [[2, 1, 0], [0, 3, -1], [1, 1, 2]], "labels": [0, 2, 1] }
};

const BACKWARD_TABS = {
  convolution: {
    title: "Convolution",
    operation: convolution,
    dy: [[1, 2, 0], [-1, 1, 3], [0, 2, -2]],
    start: ["x", [2, 1]],
    labels: {},
    lesson:
      "A convolution is linear in each of its numbers, so a large h does no harm here. Only rounding " +
      "does, at small h: the V has lost its right arm.",
  },
  maxPooling: {
    title: "Max pooling",
    operation: maxPooling,
    dy: [[2, -1, 3], [1, 4, -2]],
    start: ["x", [0, 1]],
    labels: {},
    lesson:
      "As long as the same pixel wins, the slope is exact. Once h reaches the gap to the runner-up, " +
      "another pixel wins on one side: that is a kink, and the measured slope is worth nothing.",
  },
  transposedConvolution: {
    title: "Transposed convolution",
    operation: transposedConvolution,
    dy: mapGrid(zeros(7, 7), (_, i, j) => ((3 * i + 5 * j) % 7) - 3),
    start: ["x", [1, 1]],
    labels: {},
    lesson:
      "Every pixel lays the kernel, times itself, on the result, two pixels further on each time. " +
      "Point at the middle of y: with a 3 x 3 kernel some pixels are hit once, some twice, some four times.",
  },
  crossEntropy: {
    title: "Softmax cross-entropy",
    operation: crossEntropy,
    dy: [[1]],
    start: ["x", [1, 2]],
    labels: { x: "logits", dx: "dlogits", y: "loss", dy: "dloss" },
    lesson:
      "This function bends. From the right the error falls with the square of h, from the left " +
      "rounding rises: the V. Its lowest point is near h = 0.00001.",
  },
};

const CAPTIONS = {
  x: "the image", weight: "the kernel", y: "the result",
  dx: "gradient of x", dweight: "gradient of weight", dy: "gradient of y: given",
};
const CROSS_ENTROPY_CAPTIONS = {
  x: "a pixel a row, a class a column", y: "", p: "softmax of the logits", truth: "1 at the true class",
  dx: "gradient of logits", dy: "gradient of loss: given",
};

class BackwardPiece {
  constructor(root, first = "convolution") {
    this.root = root;
    this.tabs = Object.keys(BACKWARD_TABS);
    this.h = 1e-2;
    this.build();
    this.openTab(first);
  }

  build() {
    this.tabButtons = this.tabs.map((key) => {
      const button = html("button", { role: "tab", "data-tab": key }, BACKWARD_TABS[key].title);
      button.addEventListener("click", () => this.openTab(key));
      return button;
    });
    const list = html("div", { role: "tablist", "aria-label": "Operation" }, ...this.tabButtons);
    list.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = (this.tabs.indexOf(this.key) + step + this.tabs.length) % this.tabs.length;
      this.openTab(this.tabs[next]);
      this.tabButtons[next].focus();
    });
    this.gridsElement = html("div", { class: "pairs", role: "tabpanel" });
    this.formula = html("div", { class: "formula", "aria-live": "polite" });
    this.wiggle = html("button", { class: "wiggle" }, "Wiggle");
    this.wiggle.addEventListener("click", () => this.startWiggling());
    this.slider = html("input", { type: "range", min: -12, max: 0, step: 0.25, value: -2, class: "h",
      "aria-label": "h, as a power of ten" });
    this.slider.addEventListener("input", () => {
      this.h = 10 ** Number(this.slider.value);
      this.refresh();
    });
    this.measured = html("div", { class: "measured", "aria-live": "polite" });
    this.curve = svg("svg", { viewBox: "0 0 340 190", class: "v-curve", role: "img" });
    this.lesson = html("p", { class: "lesson" });
    this.breaker = html("select", { class: "break", "aria-label": "Which backward to use" });
    this.breaker.addEventListener("change", () => this.refresh());
    this.verdict = html("p", { class: "verdict", "aria-live": "polite" });
    this.hint = html("p", { class: "hint" },
      "Point at a number; a click or a tap keeps it. Change it: drag sideways, or type. With the keyboard: " +
      "arrows move, Shift with up or down changes.");
    this.number = html("input", { type: "number", step: "any" }); // for those without a keyboard
    this.number.addEventListener("input", () => {
      if (this.number.value !== "") this.change(this.name, this.place, Number(this.number.value));
    });
    this.numberName = html("span");
    this.numberLabel = html("label", { class: "number-label" }, this.numberName, this.number);
    this.root.replaceChildren(list, this.gridsElement, this.hint, this.numberLabel, this.formula,
      html("div", { class: "bench" },
        html("section", {}, html("h4", {}, "Is it true? Move the number by h and look"),
          html("div", { class: "row" }, this.wiggle, html("label", {}, "h ", this.slider)),
          this.measured),
        html("section", {}, this.curve, this.lesson)),
      html("section", {}, html("h4", {}, "Break it"),
        html("label", {}, "backward: ", this.breaker), this.verdict));
  }

  openTab(key) {
    this.key = key;
    this.tab = BACKWARD_TABS[key];
    this.inputs = structuredClone(FIRST_NUMBERS[key]);
    this.dy = structuredClone(this.tab.dy);
    this.tabButtons.forEach((button, k) => {
      const open = this.tabs[k] === key;
      button.setAttribute("aria-selected", open);
      button.tabIndex = open ? 0 : -1;
    });
    const names = key === "crossEntropy"
      ? [["x", "dx"], ["p", "truth"], ["y", "dy"]]
      : key === "maxPooling" ? [["x", "dx"], ["y", "dy"]]
      : [["x", "dx"], ["weight", "dweight"], ["y", "dy"]];
    this.grids = {};
    const numbers = this.numbers();
    this.gridsElement.replaceChildren(...names.map((pair) => html("div", { class: "pair" },
      ...pair.map((name) => this.makeGrid(name, numbers[name]).element))));
    this.breaker.replaceChildren(html("option", { value: "" }, "the right one"),
      ...wrongBackwards[key].map((wrong) => html("option", { value: wrong.name }, wrong.label)));
    this.point(...this.tab.start, true);
  }

  makeGrid(name, numbers) {
    const editable = name in this.inputs || name === "dy" || name === "truth";
    const captions = this.key === "crossEntropy" ? CROSS_ENTROPY_CAPTIONS : CAPTIONS;
    const grid = new NumberGrid({
      name,
      label: this.label(name),
      caption: captions[name] + (editable ? " \u270e" : ""),
      rows: numbers.length,
      columns: numbers[0].length,
      onPoint: (...where) => this.point(...where),
      onLeave: () => this.point(...this.chosen),
      onChange: editable ? (...change) => this.change(...change) : null,
    });
    if (name === "truth")
      for (const [i, k] of places(numbers))
        grid.cells[i][k].group.addEventListener("click", () => this.change("truth", [i, k], 1));
    this.grids[name] = grid;
    return grid;
  }

  label(name) {
    return this.tab.labels[name] || name;
  }

  // The backward in use: the right one, or one of the gallery.
  backward() {
    const wrong = wrongBackwards[this.key].find(({ name }) => name === this.breaker.value);
    return wrong ? wrong.backward : this.tab.operation.backward;
  }

  numbers(inputs = this.inputs) {
    const claims = this.backward()(inputs, this.dy);
    const shown = { ...inputs, y: this.tab.operation.forward(inputs), dy: this.dy, dx: claims.x };
    if (claims.weight) shown.dweight = claims.weight;
    if (inputs.labels) {
      shown.p = softmax(inputs.x);
      shown.truth = mapGrid(inputs.x, (_, i, k) => Number(k === inputs.labels[i]));
      delete shown.labels;
    }
    return shown;
  }

  // What is pointed at is explained; once the pointer leaves, what was chosen last is again, so that
  // the way to the button below does not change it.
  point(name, place, isChosen = false) {
    if (isChosen) this.chosen = [name, place];
    if (name === this.name && String(place) === String(this.place) && this.grids[name] === this.shown) return;
    [this.name, this.place, this.shown] = [name, place, this.grids[name]];
    this.refresh();
  }

  change(name, [i, j], number) {
    if (name === "truth") {
      if (number > 0) this.inputs.labels[i] = j;
    } else {
      (name === "dy" ? this.dy : this.inputs[name])[i][j] = number;
    }
    this.refresh();
  }

  refresh() {
    this.draw(this.numbers());
    this.showMeasurement();
    const sentence = checkBackward(this.tab.operation, this.backward(), this.inputs, this.dy);
    this.verdict.textContent = sentence
      ? `The checker: \u201c${MISTAKES[this.breaker.value]} ${sentence.replaceAll("dx", this.label("dx"))}\u201d`
      : this.breaker.value
        ? "The checker: all is well. These numbers hide the mistake! Change some, and look again."
        : "The checker: all is well.";
    this.verdict.classList.toggle("wrong", Boolean(sentence));
  }

  draw(numbers) {
    for (const [name, grid] of Object.entries(this.grids)) grid.show(numbers[name]);
    const { lit, text } = this.explain(numbers);
    for (const [name, grid] of Object.entries(this.grids))
      grid.light(lit[name] || [], name === this.name ? this.place : null);
    this.formula.replaceChildren(...text);
    const editable = this.grids[this.name].onChange && this.name !== "truth";
    const value = editable ? "" : shortNumber(at(numbers[this.name], this.place));
    this.numberName.textContent = `${entry(this.label(this.name), this.place)} = ${value}`;
    this.number.hidden = !editable;
    if (document.activeElement !== this.number)
      this.number.value = Number(at(numbers[this.name], this.place).toFixed(6));
  }

  explain(numbers) {
    if (this.key === "maxPooling") return this.explainPooling(numbers);
    if (this.key === "crossEntropy") return this.explainCrossEntropy(numbers);
    return this.explainTaps(numbers);
  }

  // Both convolutions: the products that make up the number pointed at.
  explainTaps(numbers) {
    const side = this.name.replace(/^d(?=x|w|y)/, ""); // x, weight or y
    const taps = this.tab.operation.taps(this.inputs).filter((tap) => String(tap[side]) === String(this.place));
    const [one, other, result] = { y: ["x", "weight", "y"], x: ["dy", "weight", "dx"], weight: ["dy", "x", "dweight"] }[side];
    const index = (name, tap) => tap[name.replace(/^d(?=y)/, "")];
    const lit = {};
    for (const name of [one, other])
      lit[name] = taps.map((tap, k) => ({ place: index(name, tap), term: letter(k) }));
    if (side !== "y") lit.y = taps.map((tap) => ({ place: tap.y }));
    if (side === "y") lit.dy = [{ place: this.place }];
    for (const name of [side, result]) (lit[name] ||= []).push({ place: this.place });
    const terms = taps.map((tap, k) => [
      html("sup", {}, letter(k)),
      `${bracket(at(numbers[one], index(one, tap)))}\u00b7${bracket(at(numbers[other], index(other, tap)))}`,
    ]);
    const total = sum(taps.map((tap) => at(numbers[one], index(one, tap)) * at(numbers[other], index(other, tap))));
    const story = {
      y: `The window under ${entry("y", this.place)} and the kernel, multiplied place by place:`,
      x: `${entry("x", this.place)} went into ${count(taps.length, "output")}. Each sends back its dy, times the weight that connected them:`,
      weight: `${entry("weight", this.place)} was used once for each output, each time with another pixel:`,
    };
    if (this.key === "transposedConvolution") {
      story.y = `Each pixel whose kernel reaches ${entry("y", this.place)} adds itself times a weight:`;
      story.x = `${entry("x", this.place)} laid its kernel on ${count(taps.length, "output")}. Each sends back its dy, times the weight that lay on it:`;
      story.weight = `${entry("weight", this.place)} was used once for each pixel, and lay on another output each time:`;
    }
    const line = html("p", { class: "terms" }, `${entry(result, this.place)} = `,
      ...terms.flatMap((term, k) => (k ? [" + ", ...term] : term)), " = ", html("b", {}, shortNumber(total)));
    const text = [html("p", {}, story[side]), line];
    if (side !== "y" && Math.abs(at(numbers[result], this.place) - total) > 1e-9)
      text.push(html("p", { class: "wrong" }, `The broken backward says ${shortNumber(at(numbers[result], this.place))}.`));
    return { lit, text };
  }

  explainPooling(numbers) {
    const onImage = this.name === "x" || this.name === "dx";
    const [i, j] = onImage ? this.place.map((n) => n >> 1) : this.place;
    const window = [0, 1, 2, 3].map((k) => [2 * i + (k >> 1), 2 * j + (k & 1)]);
    const winner = winners(this.inputs.x)[i][j];
    const lit = { x: window.map((place) => ({ place })), y: [{ place: [i, j] }], dy: [{ place: [i, j] }], dx: [{ place: winner }] };
    lit.x.find(({ place }) => String(place) === String(winner)).term = "max";
    const values = window.map((place) => shortNumber(at(this.inputs.x, place))).join(", ");
    const text = [html("p", { class: "terms" }, `y[${i}, ${j}] = max(${values}) = `, html("b", {}, shortNumber(numbers.y[i][j])))];
    const gradient = shortNumber(this.dy[i][j]);
    if (onImage && String(this.place) !== String(winner))
      text.push(html("p", {}, `${entry("x", this.place)} is not the largest of its window: moving it a little changes nothing, so its gradient is `, html("b", {}, "0"), ". "));
    else
      text.push(html("p", {}, `${entry("x", winner)} won, so it alone moves y, and gets all of dy[${i}, ${j}] = `, html("b", {}, gradient), "."));
    const right = this.tab.operation.backward(this.inputs, this.dy).x;
    if (onImage && at(numbers.dx, this.place) !== at(right, this.place))
      text.push(html("p", { class: "wrong" }, `The broken backward says ${shortNumber(at(numbers.dx, this.place))}.`));
    return { lit, text };
  }

  explainCrossEntropy(numbers) {
    const { x, labels } = this.inputs, pixels = x.length;
    if (this.name === "y" || this.name === "dy") {
      const own = labels.map((label, i) => [i, label]);
      const lit = { p: own.map((place, k) => ({ place, term: letter(k) })), truth: own.map((place) => ({ place })), x: [], y: [{ place: [0, 0] }] };
      const terms = own.flatMap((place, k) => [k ? " \u2212 " : "\u2212", html("sup", {}, letter(k)), `ln ${shortNumber(at(numbers.p, place))}`]);
      return { lit, text: [
        html("p", {}, "How surprised by the truth: the mean of minus the logarithm of what each true class was given:"),
        html("p", { class: "terms" }, "loss = (", ...terms, `) / ${pixels} = `, html("b", {}, shortNumber(numbers.y[0][0]))),
      ] };
    }
    const [i, k] = this.place, p = numbers.p[i][k], truth = numbers.truth[i][k];
    const lit = { x: x[i].map((_, c) => ({ place: [i, c] })), p: [{ place: [i, k] }], truth: [{ place: [i, k] }], dx: [{ place: [i, k] }], dy: [{ place: [0, 0] }] };
    const value = ((p - truth) / pixels) * this.dy[0][0];
    const exponents = x[i].flatMap((z, c) => [c ? " + " : "", "e", html("sup", {}, shortNumber(z))]);
    const text = [
      html("p", { class: "terms" }, `p[${i}, ${k}] = e`, html("sup", {}, shortNumber(x[i][k])), " / (", ...exponents, ") = ", html("b", {}, shortNumber(p))),
      html("p", { class: "terms" }, `dlogits[${i}, ${k}] = (p \u2212 truth) \u00b7 dloss / pixels = (${shortNumber(p)} \u2212 ${truth}) \u00b7 ${bracket(this.dy[0][0])} / ${pixels} = `, html("b", {}, shortNumber(value))),
      html("p", {}, truth ? "The true class is pulled up, by as much as it lacks." : "A wrong class is pushed down, by as much as it got."),
    ];
    if (Math.abs(numbers.dx[i][k] - value) > 1e-9)
      text.push(html("p", { class: "wrong" }, `The broken backward says ${shortNumber(numbers.dx[i][k])}.`));
    return { lit, text };
  }

  // -- Wiggling ---------------------------------------------------------------------------------

  // Which input is wiggled: the one pointed at, or the namesake of the gradient pointed at.
  target() {
    const input = this.name.replace(/^d(?=x|w)/, "");
    return input === "x" || input === "weight" ? input : input === "p" || input === "truth" ? "x" : null;
  }

  error(h) {
    const [input, place] = this.wiggled;
    const claim = at(this.backward()(this.inputs, this.dy)[input], place);
    const slope = measuredSlope(this.tab.operation, this.inputs, this.dy, input, place, h);
    return { claim, slope, error: Math.abs(claim - slope) / Math.max(Math.abs(claim), Math.abs(slope), 1e-9) };
  }

  showMeasurement() {
    // A number of y or dy can't be wiggled: the last one that can, stays.
    if (this.target()) this.wiggled = [this.target(), this.place];
    const [input, place] = this.wiggled;
    const { claim, slope, error } = this.error(this.h);
    const symbol = entry(this.label(input), place), loss = this.key === "crossEntropy" ? "L = loss \u00b7 dloss" : "L = the sum of y \u00b7 dy";
    const value = (h) => scalarLoss(this.tab.operation, moved(this.inputs, input, place, h), this.dy);
    const digits = (number, count) => number.toPrecision(count).replace(/^-/, "\u2212");
    const row = (head, body, kind = "") => html("tr", { class: kind }, html("th", {}, head), html("td", {}, body));
    this.measured.replaceChildren(html("p", {}, `${loss}; ${symbol} moves by h = ${power(this.h)}`), html("table", {},
      row(`L at ${symbol} + h`, digits(value(this.h), 12)), row(`L at ${symbol} \u2212 h`, digits(value(-this.h), 12)),
      row("measured slope", digits(slope, 9), "slope"), row(`backward claims`, digits(claim, 9), "claim"),
      row("relative error", error < 0.01 ? error.toExponential(1) : error.toFixed(2), error > 1e-6 ? "wrong error" : "error")));
    this.drawCurve();
  }

  drawCurve() {
    const left = 44, right = 330, top = 10, bottom = 150;
    const across = (h) => left + ((Math.log10(h) + 12) / 12) * (right - left);
    const down = (error) => bottom - ((Math.log10(Math.max(error, 1e-13)) + 13) / 14) * (bottom - top);
    this.curve.replaceChildren();
    this.curve.setAttribute("aria-label", "The relative error of the measured slope over the step h");
    for (const exponent of [-12, -8, -4, 0]) {
      svg("line", { x1: left, x2: right, y1: down(10 ** exponent), y2: down(10 ** exponent), class: "rule" }, this.curve);
      svg("text", { x: left - 5, y: down(10 ** exponent) + 4, "text-anchor": "end" }, this.curve).textContent = power(10 ** exponent);
      svg("text", { x: across(10 ** exponent), y: bottom + 16, "text-anchor": "middle" }, this.curve).textContent = power(10 ** exponent);
    }
    svg("text", { x: (left + right) / 2, y: bottom + 34, "text-anchor": "middle" }, this.curve).textContent = "step h; upwards, the relative error";
    const steps = Array.from({ length: 49 }, (_, k) => 10 ** (-12 + k / 4));
    const errors = steps.map((h) => this.error(h).error);
    const points = steps.map((h, k) => `${across(h)},${down(errors[k])}`).join(" ");
    svg("polyline", { points, class: "v" }, this.curve);
    svg("circle", { cx: across(this.h), cy: down(this.error(this.h).error), r: 6, class: "now" }, this.curve);
    const isFlat = this.breaker.value && Math.min(...errors) > 1e-6;
    this.lesson.textContent = isFlat ? "No h brings the two together: here the backward is wrong." : this.tab.lesson;
  }

  // Show the number moved by h, then by -h, and what that does to the result.
  async startWiggling() {
    const [input, place] = this.wiggled;
    this.wiggle.disabled = true;
    for (const h of [this.h, -this.h, this.h, -this.h]) {
      this.draw(this.numbers(moved(this.inputs, input, place, h)));
      this.root.classList.add("wiggling");
      await new Promise((done) => setTimeout(done, 350));
    }
    this.root.classList.remove("wiggling");
    this.wiggle.disabled = false;
    this.refresh();
    this.wiggle.focus();
  }
}

const letter = (k) => "abcdefghijklmnopqrstuvwxyz"[k];
const at = (grid, [i, j]) => grid[i][j];
const entry = (array, [i, j]) => `${array}[${i}, ${j}]`;
const bracket = (number) => (number < 0 ? `(${shortNumber(number)})` : shortNumber(number));
const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

// 0.01 as 10 with the raised exponent -2; other steps with a factor before.
function power(number) {
  const exponent = Math.floor(Math.log10(number) + 1e-9), factor = number / 10 ** exponent;
  const raised = String(exponent).replace(/./g, (c) => ({ "-": "\u207b" })[c] || "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"[c]);
  if (exponent === 0 && Math.abs(factor - 1) < 1e-9) return "1";
  return (Math.abs(factor - 1) < 1e-9 ? "" : `${factor.toFixed(1)} \u00b7 `) + "10" + raised;
}
