"""Bundle CodeMirror, the editor of the lab, into one file that lies in the book.

Every package that goes into ``interactive/codemirror.js`` is named here with its version, so the
file comes out the same. It needs npm and the network::

    python docs/bundle_editor.py
"""

import json
import subprocess
import tempfile
from pathlib import Path

TARGET = Path(__file__).resolve().parent / "interactive" / "codemirror.js"
PACKAGES = {
    "@codemirror/autocomplete": "6.20.4",
    "@codemirror/commands": "6.10.0",
    "@codemirror/lang-python": "6.2.1",
    "@codemirror/language": "6.11.3",
    "@codemirror/state": "6.5.2",
    "@codemirror/view": "6.38.6",
    "@lezer/common": "1.5.5",
    "@lezer/highlight": "1.2.3",
    "@lezer/lr": "1.4.12",
    "@lezer/python": "1.1.19",
    "@marijn/find-cluster-break": "1.0.4",
    "crelt": "1.0.7",
    "style-mod": "4.1.5",
    "w3c-keyname": "2.2.8",
}
ESBUILD = "0.25.11"
ENTRY = """
export { EditorView, keymap, lineNumbers, drawSelection } from "@codemirror/view";
export { EditorState } from "@codemirror/state";
export { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
export {
  bracketMatching, HighlightStyle, indentOnInput, indentUnit, syntaxHighlighting,
} from "@codemirror/language";
export { python } from "@codemirror/lang-python";
export { tags } from "@lezer/highlight";
"""


def main():
    """Install the packages in an empty folder, bundle them, and write the license before them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wanted = {"private": True, "dependencies": PACKAGES | {"esbuild": ESBUILD}}
        (folder / "package.json").write_text(json.dumps(wanted))
        (folder / "entry.js").write_text(ENTRY)
        subprocess.run(["npm", "install", "--silent", "--no-audit"], cwd=folder, check=True)
        options = ["--bundle", "--minify", "--format=iife", "--global-name=CodeMirror"]
        options += ["--legal-comments=none", "--outfile=bundle.js"]
        subprocess.run(["npx", "esbuild", "entry.js", *options], cwd=folder, check=True)
        license_text = (folder / "node_modules/@codemirror/view/LICENSE").read_text()
        versions = ", ".join(f"{package} {version}" for package, version in PACKAGES.items())
        comment = (
            f"Made by bundle_editor.py of {versions}, all under this license:\n\n{license_text}"
        )
        bundle = (folder / "bundle.js").read_text(encoding="utf-8")
        TARGET.write_text(f"/*\n{comment}\n\n{license_text}*/\n{bundle}", encoding="utf-8")


if __name__ == "__main__":
    main()
