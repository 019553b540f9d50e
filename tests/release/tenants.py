#!/usr/bin/env python3
"""Writes the licences of all crates of a release, and its bill of materials (CycloneDX 1.5):
tenants.py TARGET NOTICES.txt BILL.json

Both depend on Cargo.lock, the crates and SOURCE_DATE_EPOCH alone, so that the same source makes the same bytes.
"""
import json
import os
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path

target, notices, bill = sys.argv[1:]
project = Path(__file__).resolve().parents[2]
LICENCE = re.compile(r"(?i)^(licen[cs]e|copying|copyright|notice|unlicense)")

cargo = os.environ.get("CARGO", "cargo")


def ask(*arguments):
    command = [cargo, *arguments, "--locked"]
    return subprocess.run(command, cwd=project, check=True, stdout=subprocess.PIPE, text=True).stdout


def order(id):
    return packages[id]["name"], packages[id]["version"]


def tree(edges):
    lines = ask("tree", f"--edges={edges}", "--prefix=none", "--format={p}", f"--target={target}").splitlines()
    names = {tuple(line.split(" ")[:2]) for line in lines[1:]}
    return sorted((id for id, it in packages.items() if (it["name"], f"v{it['version']}") in names), key=order)


metadata = json.loads(ask("metadata", "--format-version=1", "--filter-platform", target))
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
root = metadata["resolve"]["root"]
lock = re.findall(r'name = "(.+)"\nversion = "(.+)"\nsource = .*\nchecksum = "(.+)"', (project / "Cargo.lock").read_text())
checksums = {(name, version): checksum for name, version, checksum in lock}
# Of a release, and not of its tests, which would add to the features of some.
built = tree("normal,build")
linked = set(tree("normal,no-proc-macro"))


def needs(id):
    of_release = [it["pkg"] for it in nodes[id]["deps"] if any(kind["kind"] != "dev" for kind in it["dep_kinds"])]
    return sorted((it for it in of_release if it in built), key=order)


def expression(package):
    return package["license"].replace("/", " OR ")


def reference(package):
    return f"{package['name']}@{package['version']}"


# The notices: each text once, with the crates that it is of.
texts = {}
for id in built:
    package = packages[id]
    folder = Path(package["manifest_path"]).parent
    for file in sorted(it for it in folder.iterdir() if it.is_file() and LICENCE.match(it.name)):
        text = "\n".join(line.rstrip() for line in file.read_text(errors="replace").strip().splitlines())
        texts.setdefault(text, []).append(f"{package['name']} {package['version']}")
rows = []
for id in built:
    package = packages[id]
    use = "in the program" if id in linked else "used to build it"
    rows.append(f"{package['name'] + ' ' + package['version']:<32} {use:<17} {expression(package)}")
parts = [(project / "tests/release/notices.txt").read_text().rstrip(), "\n".join(rows)]
for text, names in texts.items():
    parts.append(f"{'-' * 80}\n{', '.join(dict.fromkeys(names))}:\n\n{text}")
Path(notices).write_text("\n\n".join(parts) + "\n")


# The bill of materials.
def component(id, kind):
    package = packages[id]
    made = {"type": kind, "bom-ref": reference(package), "name": package["name"], "version": package["version"]}
    if package["description"]:
        made["description"] = " ".join(package["description"].split())
    made["licenses"] = [{"expression": expression(package)}]
    checksum = checksums.get(order(id))
    if checksum:  # and so it is from crates.io
        made["purl"] = f"pkg:cargo/{reference(package)}"
        made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return made


components = []
for id in built:
    components.append(component(id, "library") | {"scope": "required" if id in linked else "excluded"})
runtime = [("std", "Rust's standard library", "MIT OR Apache-2.0"), ("musl", "the C library", "MIT")]
for name, what, licence in runtime:
    components.append(
        {"type": "library", "bom-ref": name, "name": name, "description": what, "scope": "required"}
        | {"licenses": [{"expression": licence}]}
    )
dependencies = [
    {"ref": reference(packages[id]), "dependsOn": [reference(packages[it]) for it in needs(id)]}
    for id in [root, *built]
]
dependencies[0]["dependsOn"] += [name for name, _, _ in runtime]
program = component(root, "application")
stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"])))
document = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "version": 1,
    "metadata": {
        "timestamp": stamp,
        "component": program,
        "properties": [{"name": "target", "value": target}],
    },
    "components": components,
    "dependencies": dependencies,
}
content = json.dumps(document, indent=1, sort_keys=True)
document["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, content).urn
Path(bill).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
