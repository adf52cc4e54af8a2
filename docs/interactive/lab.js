// The lab: the course's exercises with an editor and the same checker, nothing to install. What is
// written stays in this browser (localStorage) and can be taken along as a folder.

const LAB_KEY = "tinyunet-lab";

// The checker breaks its lines after 100 letters, for a terminal; the page breaks them itself.
function unwrapped(text) {
  const [first, ...others] = text.split("\n");
  let previous = first;
  return others.reduce((all, line) => {
    const goesOn = previous.length + 1 + line.split(" ")[0].length > 100;
    previous = line;
    return all + (goesOn ? " " : "\n") + line;
  }, first);
}

class LabPiece {
  constructor(root) {
    this.root = Object.assign(root, { lab: this });
    this.kept = { files: {}, hints: {}, right: [], current: null };
    try {
      Object.assign(this.kept, JSON.parse(localStorage.getItem(LAB_KEY) || "{}"));
    } catch {
      this.cannotKeep = true; // private windows may have no storage
    }
    const button = (text, action, name) => {
      const element = html("button", { "data-do": name }, text);
      element.addEventListener("click", action);
      return element;
    };
    this.loadButton = button("Load Python and begin", () => this.load(), "load");
    this.status = html("p", { class: "status", "aria-live": "polite" },
      "Sixteen backwards to write yourself, with a checker that says which mistake it is. Python is loaded first (17 MB).");
    this.list = html("select", { "aria-label": "Exercise" });
    this.list.addEventListener("change", () => this.open(this.list.value));
    this.editor = html("div", { class: "editor" });
    this.view = new CodeMirror.EditorView({ parent: this.editor });
    this.message = html("p", { class: "message", "aria-live": "polite" });
    this.hints = html("ol", { class: "hints" });
    this.chapter = html("a", {}, "the chapter");
    this.buttons = [
      button("Check it", () => this.check(), "check"), button("A hint", () => this.hint(), "hint"),
      button("Next", () => this.next(), "next"), button("Start it over", () => this.reset(), "reset"),
      button("Download all", () => this.download(), "download")];
    this.stopButton = button("Stop", () => this.restart("Stopped. Is there a loop that never ends?"), "stop");
    this.stopButton.hidden = true;
    this.desk = html("div", { hidden: "" },
      html("div", { class: "row" }, html("label", {}, "Exercise ", this.list), html("span", {}, "read ", this.chapter)),
      this.editor, html("div", { class: "row" }, ...this.buttons, this.stopButton), this.message, this.hints,
      html("p", { class: "hint" }, "Your work stays in this browser. Downloaded and unpacked, it is a folder for tinyunet learn."));
    this.root.replaceChildren(html("div", { class: "row" }, this.loadButton), this.status, this.desk);
  }

  // Start a fresh Python; gives whether it came.
  async startPython() {
    this.loadButton.disabled = true;
    try {
      this.python = new Python("lab", (text) => (this.status.textContent = text));
      this.exercises = await this.python.call("start", this.kept);
    } catch (error) {
      this.python.stop();
      this.status.textContent = PYTHON_FAILED + error.message.trim().split("\n").at(-1);
      this.loadButton.hidden = this.loadButton.disabled = false;
      return false;
    }
    return (this.loadButton.hidden = true);
  }

  async load() {
    if (!(await this.startPython())) return;
    this.desk.hidden = false;
    this.working(false);
    this.open(this.kept.current || this.exercises[0].name);
  }

  // Whoever wrote an endless loop gets a fresh Python, and so does who has killed it; a check that
  // waits is forgotten.
  async restart(why) {
    this.python.stop();
    this.say(`${why} Python is started again \u2026`);
    if (!(await this.startPython())) return;
    this.say(why);
    this.working(false);
    this.showStatus();
  }

  say(text, kind = "") {
    this.message.textContent = text;
    this.message.className = `message ${kind}`;
  }

  // While Python works there is only Stop; the keyboard gets back afterwards to where it was.
  working(isBusy) {
    if (isBusy) this.focused = document.activeElement;
    for (const one of this.buttons) one.disabled = isBusy;
    this.stopButton.hidden = !isBusy;
    if (!isBusy && document.activeElement === document.body) this.focused?.focus({ preventScroll: true });
  }

  exercise() {
    return this.exercises.find(({ name }) => name === this.kept.current);
  }

  open(name) {
    this.kept.current = name;
    const { original, hints, page } = this.exercise();
    this.openText(this.kept.files[name] ?? original);
    this.chapter.href = page;
    this.say("");
    this.hints.replaceChildren(...hints.map((text) => html("li", {}, text)));
    this.showStatus();
    this.save();
  }

  showStatus() {
    this.list.replaceChildren(...this.exercises.map(({ name, title }) =>
      html("option", { value: name }, `${this.kept.right.includes(name) ? "\u2713" : "\u2007"} ${name.slice(0, 2)} ${title}`)));
    this.list.value = this.kept.current;
    this.status.textContent = `${this.kept.right.length} of ${this.exercises.length} are right. Write where three dots stand, then press Check it.` +
      (this.cannotKeep ? " This browser keeps nothing: download your work before you leave." : "");
  }

  keep() {
    this.kept.files[this.kept.current] = this.text;
    this.save();
  }

  save() {
    try {
      localStorage.setItem(LAB_KEY, JSON.stringify(this.kept));
    } catch {
      this.cannotKeep = true;
    }
  }

  async check() {
    this.working(true);
    this.say("checking \u2026");
    try {
      const { name } = this.exercise();
      const { state, message } = await this.python.call("check", { name, text: this.text });
      this.kept.right = this.kept.right.filter((one) => one !== name).concat(state === "right" ? name : []);
      this.say(...{
        right: ["Right. Next opens another one.", "good"],
        wrong: [unwrapped(message), "bad"],
        "to do": ["Nothing to check yet: where three dots stand it is your turn."],
      }[state]);
    } catch (error) {
      return this.restart(`Python itself has ended (${error.message.trim().split("\n").at(-1)}).`);
    }
    this.working(false);
    this.showStatus();
    this.save();
  }

  async hint() {
    const { name, hints } = this.exercise(), text = await this.python.call("hint", { name });
    if (text === null) {
      this.say("There are no more hints for this one.");
      return;
    }
    hints.push(text);
    this.kept.hints[name] = hints.length;
    this.hints.append(html("li", {}, text));
    this.save();
  }

  next() {
    const at = this.exercises.indexOf(this.exercise());
    this.open(this.exercises[(at + 1) % this.exercises.length].name);
  }

  reset() {
    delete this.kept.files[this.kept.current];
    this.kept.right = this.kept.right.filter((name) => name !== this.kept.current);
    this.open(this.kept.current);
  }

  async download() {
    const zip = await this.python.call("bundle", { files: this.kept.files });
    const link = html("a", { href: `data:application/zip;base64,${zip}`, download: "mycourse.zip" });
    link.click();
    this.lastBundle = zip;
  }

  // -- The editor -------------------------------------------------------------------------------

  get text() {
    return this.view.state.doc.toString();
  }

  // What somebody types is kept; an exercise that is opened begins without a past to undo.
  set text(doc) {
    this.view.dispatch({ changes: { from: 0, to: this.view.state.doc.length, insert: doc } });
  }

  openText(doc) {
    const { EditorState, EditorView, keymap, tags } = CodeMirror;
    const colors = CodeMirror.HighlightStyle.define([
      { tag: [tags.keyword, tags.operatorKeyword], class: "keyword" },
      { tag: [tags.comment, tags.string], class: "quiet" },
      { tag: [tags.number, tags.bool, tags.null], class: "number" },
    ]);
    const name = "Your code. Tab indents; press Escape first to leave the editor with Tab.";
    this.view.setState(EditorState.create({ doc, extensions: [
      CodeMirror.lineNumbers(), CodeMirror.history(), CodeMirror.drawSelection(), CodeMirror.bracketMatching(),
      CodeMirror.indentOnInput(), CodeMirror.indentUnit.of("    "), CodeMirror.python(),
      matchMedia("(max-width: 40em)").matches ? EditorView.lineWrapping : [],
      CodeMirror.syntaxHighlighting(colors), EditorView.contentAttributes.of({ "aria-label": name }),
      keymap.of([...CodeMirror.defaultKeymap, ...CodeMirror.historyKeymap, CodeMirror.indentWithTab]),
      EditorView.updateListener.of((update) => update.docChanged && this.keep()),
    ] }));
  }
}
