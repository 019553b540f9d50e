"""Records in readings.json what three readers make of each text of lines.txt: bash, python-dotenv and
Node's dotenv. Called by read.sh. A text is a JSON string on a line of its own; other lines are
comments. A text of one line is read with a line break behind it."""
import json, os, subprocess, sys, tempfile

from dotenv import dotenv_values

HERE = os.path.dirname(os.path.abspath(__file__))
NODE = """
const dotenv = require('dotenv');
const texts = JSON.parse(require('fs').readFileSync(0, 'utf8'));
console.log(JSON.stringify(texts.map((text) => dotenv.parse(text))));
"""
SCRIPT = "set -a; . ./file; code=$?; /usr/bin/env -0 > ../result; exit $code"
# No program is found on this path, so a line that runs one fails.
ENVIRONMENT = {"HOME": "/home/somebody", "PATH": "/nonexistent", "LC_ALL": "C.UTF-8"}
OWN = {"HOME", "LC_ALL", "PATH", "PWD", "OLDPWD", "SHLVL", "_", "code"}


def bash(text):
    """What `set -a; . FILE` sets, and whether that is all: nothing said, run, made or failed."""
    # An editor's byte order mark and CR LF are the whole file's, and no line's: they are undone.
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    with tempfile.TemporaryDirectory() as place:
        room, result = os.path.join(place, "room"), os.path.join(place, "result")
        os.mkdir(room)
        with open(os.path.join(room, "file"), "w", encoding="utf-8", newline="") as file:
            file.write(text)
        process = subprocess.Popen(
            ["/bin/bash", "--norc", "--noprofile", "-c", SCRIPT], env=ENVIRONMENT, cwd=room,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        said = process.communicate()
        is_all = process.returncode == 0 and not any(said) and os.listdir(room) == ["file"]
        if not os.path.exists(result):
            return {}, False
        with open(result, encoding="utf-8", errors="replace", newline="") as file:
            pairs = [pair.partition("=") for pair in file.read().split("\0") if pair]
    own = str(process.pid)  # of $$
    return {name: value.replace(own, "PID") for name, _, value in pairs if name not in OWN}, is_all


def python(text):
    with tempfile.NamedTemporaryFile() as file:
        file.write(text.encode())
        file.flush()
        return dict(dotenv_values(file.name))


def main(modules, lines, readings):
    os.environ.clear()
    os.environ.update({"HOME": "/home/somebody", "PATH": "/usr/bin:/bin", "NODE_PATH": modules})
    with open(lines, encoding="utf-8") as file:
        texts = [json.loads(line) for line in file if line.startswith('"')]
    texts = [text if "\n" in text else text + "\n" for text in texts]
    node = subprocess.run(
        ["node", "-e", NODE], input=json.dumps(texts), capture_output=True, text=True, check=True)
    rows = []
    for text, by_node in zip(texts, json.loads(node.stdout)):
        by_bash, is_all = bash(text)
        by_python = python(text)
        row = {"text": text, "bash": by_bash, "isAll": is_all, "python": by_python, "node": by_node}
        rows.append(row)
    with open(readings, "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")


main(sys.argv[1], os.path.join(HERE, "lines.txt"), os.path.join(HERE, "readings.json"))
