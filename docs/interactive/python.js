// Python in the page: Pyodide, which is CPython with NumPy for browsers, in a worker.
//
// It comes from a content delivery network, at one version and with the hash of every file: a file
// that is not exactly the known one is refused. Nothing else is ever asked for. tinyunet itself lies
// in the book (tinyunet_source.js, written when the book is built).

const PYODIDE = "https://cdn.jsdelivr.net/npm/pyodide@0.27.7/";
const PYODIDE_PACKAGES = "https://cdn.jsdelivr.net/pyodide/v0.27.7/full/";
const PYTHON_FILES = {
  "pyodide.js": [PYODIDE, "sha256-tMsjpTq6GcIhZZuftAovGCgdaFaR3AZkf7Cv0Ggbr5g="],
  "pyodide.asm.js": [PYODIDE, "sha256-a0yQ3ltxcoc/BPIYhNDp0idOMF/jIRZVj+Pk++NhjVE="],
  "pyodide.asm.wasm": [PYODIDE, "sha256-pQ3RhD+AWgt8RbYQN+4Neybf6F7+DhjvlaNK0k5AH18="],
  "python_stdlib.zip": [PYODIDE, "sha256-FmEVNHJuXYrCvY+SZBCy3LjW9JqiSRNGNTO0V6IRXBY="],
  "pyodide-lock.json": [PYODIDE, "sha256-nEW5FgAadQ9BAvwodJTz6rIVkJx1NcYmog24D9YzPiw="],
  "numpy-2.0.2-cp312-cp312-pyodide_2024_0_wasm32.whl":
    [PYODIDE_PACKAGES, "sha256-67YSQdliuYshWX185DtnZoptW6s6zsT76VhlcyDXzQg="],
  "pillow-10.2.0-cp312-cp312-pyodide_2024_0_wasm32.whl":
    [PYODIDE_PACKAGES, "sha256-Q+qxR6k1U4WpnurBj7V31K8v5L0LvSPTuj3bkucsKBU="],
};

// What runs in the worker; it has nothing but its arguments.
async function pythonWorker(files, zip) {
  const fromNetwork = fetch;
  const fetchChecked = async (name) => {
    if (!files[name]) throw new Error(`${name} is not one of the known files`);
    const [folder, integrity] = files[name];
    const answer = await fromNetwork(folder + name, { integrity });
    if (!answer.ok) throw new Error(`${folder + name}: ${answer.status}`);
    return answer;
  };
  self.fetch = (address) => fetchChecked(String(address.url || address).split("/").pop());
  const run = async (name) => importScripts(URL.createObjectURL(await (await fetchChecked(name)).blob()));

  const start = async () => {
    await run("pyodide.js");
    await run("pyodide.asm.js");
    const [indexURL] = files["pyodide.js"];
    const pyodide = await loadPyodide({ indexURL });
    postMessage({ progress: "loading NumPy \u2026" });
    await pyodide.loadPackage(["numpy", "pillow"], { messageCallback() {} });
    pyodide.unpackArchive(Uint8Array.from(atob(zip), (c) => c.charCodeAt(0)), "zip", { extractDir: "/book" });
    pyodide.runPython("import sys; sys.path.insert(0, '/book')");
    return pyodide;
  };
  postMessage({ progress: "loading Python (17 MB, the browser keeps it) \u2026" });
  const started = start();
  // Each message calls one function of one module with one argument; both ways it is JSON.
  onmessage = async ({ data: { id, module, name, argument } }) => {
    try {
      const pyodide = await started;
      const result = pyodide.pyimport(module)[name](JSON.stringify(argument));
      postMessage({ id, result: JSON.parse(result) });
    } catch (error) {
      postMessage({ id, error: String(error.message || error) });
    }
  };
}

// The page's side. A page may name another folder for the files (?python=...), such as a copy on the
// same machine: the hashes hold there too.
class Python {
  constructor(module, onProgress) {
    const elsewhere = new URLSearchParams(location.search).get("python");
    const files = Object.fromEntries(Object.entries(PYTHON_FILES).map(([name, [folder, integrity]]) =>
      [name, [elsewhere ? new URL(elsewhere, location.href).href : folder, integrity]]));
    const source = `(${pythonWorker})(${JSON.stringify(files)}, ${JSON.stringify(TINYUNET_ZIP)});`;
    this.worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
    this.module = module;
    this.waiting = new Map();
    this.worker.onmessage = ({ data }) => {
      if (data.progress) return onProgress(data.progress);
      const { done, failed } = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      return data.error ? failed(new Error(data.error)) : done(data.result);
    };
  }

  call(name, argument = null) {
    return new Promise((done, failed) => {
      const id = (this.lastId = (this.lastId || 0) + 1);
      this.waiting.set(id, { done, failed });
      this.worker.postMessage({ id, module: this.module, name, argument });
    });
  }

  stop() {
    this.worker.terminate();
  }
}

const PYTHON_FAILED =
  "Python could not be loaded. This piece needs the internet (once, 17 MB) and a current browser; " +
  "all else in this book works without. The reason: ";
