// Where a page has <div class="piece" data-piece="...">, load what that piece needs and start it.
// What stands in the div is for readers without JavaScript, and is replaced.

const PIECES = {
  backward: {
    scripts: ["operations.js", "number_grid.js", "mistakes.js", "backward.js"],
    start: (root) => new BackwardPiece(root, root.dataset.tab),
  },
  orchard: {
    scripts: [
      "operations.js",
      "number_grid.js",
      "scene.js",
      "network.js",
      "orchard_weights.js",
      "orchard.js",
    ],
    start: (root) => new OrchardPiece(root),
  },
  live: {
    scripts: [
      "operations.js",
      "number_grid.js",
      "orchard.js",
      "tinyunet_source.js",
      "python.js",
      "live.js",
    ],
    start: (root) => new LivePiece(root),
  },
  lab: {
    scripts: [
      "operations.js",
      "number_grid.js",
      "tinyunet_source.js",
      "python.js",
      "codemirror.js",
      "lab.js",
    ],
    start: (root) => new LabPiece(root),
  },
};

{
  const folder = document.currentScript.src.replace(/[^/]*$/, "");
  const loaded = new Map();

  const load = (file) => {
    if (!loaded.has(file))
      loaded.set(file, new Promise((done, failed) => {
        const script = document.createElement("script");
        Object.assign(script, { src: folder + file, async: false, onload: done, onerror: failed });
        document.head.append(script);
      }));
    return loaded.get(file);
  };

  document.addEventListener("DOMContentLoaded", async () => {
    for (const root of document.querySelectorAll("[data-piece]")) {
      const piece = PIECES[root.dataset.piece];
      await Promise.all(piece.scripts.map(load));
      piece.start(root);
      root.classList.add("started");
    }
  });
}
