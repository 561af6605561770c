"""A parity report as JUnit XML, for CI services."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from .charts import scientific, worst

# ------------------------------------------------------------------ JUnit


def junit(found: dict[str, Any]) -> str:
    """JUnit XML: a suite for each preset, a case for each run and claim."""
    suites = ElementTree.Element("testsuites", name="rosetta parity")
    for preset in found["presets"]:
        claims = found["claims"].get(preset["preset"], [])
        cases = [_run_case(run) for run in preset["runs"]] + [_claim_case(c) for c in claims]
        suite = ElementTree.SubElement(
            suites,
            "testsuite",
            name=preset["preset"],
            tests=str(len(cases)),
            failures=str(sum(message is not None for _, message in cases)),
            errors="0",
            skipped="0",
            time=str(preset["seconds"]),
        )
        for name, message in cases:
            case = ElementTree.SubElement(
                suite, "testcase", classname=f"rosetta.parity.{preset['preset']}", name=name
            )
            if message is not None:
                failure = ElementTree.SubElement(case, "failure", message=message.splitlines()[0])
                failure.text = message
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, "unicode", xml_declaration=True) + "\n"


def _run_case(run: dict[str, Any]) -> tuple[str, str | None]:
    if run["agrees"]:
        return run["runner"], None
    said = f"error {scientific(worst(run))}, tolerance {scientific(run['tolerance']['limit'])}"
    diagnosis = run["diagnosis"]
    lines = [said] if diagnosis is None else [said, *diagnosis["sentences"], diagnosis["command"]]
    return run["runner"], "\n".join(lines)


def _claim_case(claim: dict[str, Any]) -> tuple[str, str | None]:
    parts = (claim["name"], claim["dialect"], claim["backend"])
    name = ", ".join(filter(None, parts))
    if claim["holds"]:
        return name, None
    off = f"off by {scientific(claim['size'])}, limit {scientific(claim['limit'])}"
    return name, f"{off}: {claim['what']}"
