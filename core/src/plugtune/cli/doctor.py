"""`plugtune doctor`: versions against ranges, plugins, device, disk and memory; each problem with its fix."""

from __future__ import annotations

import os
import platform
import shutil
from typing import Any

import click
import importlib_metadata

from plugtune.cli.output import emit_json
from plugtune.plugins.policy import read_policy


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(as_json: bool) -> None:
    """Check Python, torch, the device, dependencies, plugins, disk and memory; exit 1 if something is broken."""
    report: dict[str, Any] = {"python": platform.python_version(), "problems": []}
    report["packages"] = _packages(report["problems"])
    report["torch"] = _torch(report["problems"])
    report["plugins"] = _plugins(report["problems"])
    report["policy"] = read_policy().as_json()
    report["disk_free_gb"] = round(shutil.disk_usage(os.getcwd()).free / 1e9, 1)
    report["memory_gb"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    if report["disk_free_gb"] < 5:
        report["problems"].append(
            {"what": f"only {report['disk_free_gb']} GB of disk are free here", "fix": "free some space"}
        )
    if as_json:
        emit_json(report)
    else:
        _print(report)
    raise click.exceptions.Exit(1 if report["problems"] else 0)


def _packages(problems: list[dict[str, str]]) -> dict[str, str]:
    from packaging.requirements import Requirement

    versions = {}
    for line in importlib_metadata.requires("plugtune") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib_metadata.version(requirement.name)
        except importlib_metadata.PackageNotFoundError:
            problems.append({"what": f"{requirement.name} is not installed", "fix": f'pip install "{requirement}"'})
            continue
        versions[requirement.name] = version
        if not requirement.specifier.contains(version, prereleases=True):
            problems.append(
                {
                    "what": f"{requirement.name} {version} is outside {requirement.specifier}",
                    "fix": f'pip install "{requirement}"',
                }
            )
    return versions


def _torch(problems: list[dict[str, str]]) -> dict[str, Any]:
    try:
        import torch
    except Exception as error:
        problems.append({"what": f"torch cannot be imported: {error}", "fix": "install torch for this machine"})
        return {}
    if torch.cuda.is_available():
        why = ""
    elif torch.version.cuda is None and torch.version.hip is None:
        why = "this torch is a CPU build"
    elif shutil.which("nvidia-smi") is None:
        why = "there is no NVIDIA driver on this machine"
    else:
        why = "the driver is older than this torch needs, or no device is visible (CUDA_VISIBLE_DEVICES)"
    return {"version": torch.__version__, "cuda": torch.version.cuda, "cuda_available": torch.cuda.is_available(),
            "cuda_why_not": why, "devices": torch.cuda.device_count(), "threads": torch.get_num_threads()}  # fmt: skip


def _plugins(problems: list[dict[str, str]]) -> dict[str, str]:
    from plugtune.plugins.index import read_index

    found = {}
    for plugin in read_index().plugins:
        found[plugin["name"]] = f"{plugin['version']} {plugin['status']}"
        if plugin["status"] in ("failed", "incompatible"):
            fix = f"plugtune plugins --trace {plugin['name']}" if plugin["status"] == "failed" else plugin["reason"]
            problems.append({"what": f"plugin {plugin['name']} is {plugin['status']}: {plugin['reason']}", "fix": fix})
    return found


def _print(report: dict[str, Any]) -> None:
    click.echo(
        f"Python {report['python']}, {report['memory_gb']} GB memory, {report['disk_free_gb']} GB disk free here"
    )
    torch = report["torch"]
    if torch:
        device = f"{torch['devices']} CUDA devices" if torch["cuda_available"] else f"no CUDA: {torch['cuda_why_not']}"
        click.echo(f"torch {torch['version']}, {device}")
    click.echo("packages: " + ", ".join(f"{name} {version}" for name, version in report["packages"].items()))
    click.echo("plugins: " + ", ".join(f"{name} {status}" for name, status in report["plugins"].items()))
    rules = {key: value for key, value in report["policy"].items() if value}
    click.echo("policy: " + "; ".join(f"{key} {value}" for key, value in rules.items()))
    for problem in report["problems"]:
        click.echo(f"problem: {problem['what']}\n    fix: {problem['fix']}")
    if not report["problems"]:
        click.echo("all is well")
