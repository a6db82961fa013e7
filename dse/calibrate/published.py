"""Names of chips and networks in publications, and the presets that they mean."""

from __future__ import annotations

import dataclasses
import re
from functools import cache
from pathlib import Path
from typing import Any

from ..core.files import is_there
from ..core.provenance import load_receipts, number
from ..hardware.chip import Chip
from ..hardware.own_chip import is_own
from ..hardware.presets import base_name, chip_names, chip_system, default_system
from ..hardware.presets import chip as preset_chip
from ..hardware.presets import system as preset_system
from ..hardware.system import Fabric, System, torus_slice
from ..lowering.collective import Reference, across_gather
from ..lowering.groups import spread
from ..physics.calibration import usual_stack
from .libraries import PROTOCOLS, levels_at_once
from .reading import FACTS, row_text

CHIPS: tuple[tuple[str, str, str], ...] = (
    (r"trainium ?1|trn1", "trainium1", "trn1-16"),
    (r"trainium ?2|trn2", "trainium2", "trn2-16"),
    (r"trainium ?3|trn3", "trainium3", "trn3-gen2-144"),
    (r"inferentia ?2|inf2", "inferentia2", "inf2-48xlarge"),
    # narrower names stand before wider ones: "A100 PCIe 40GB" must not be read as the 80 GB board
    (r"a100.*pcie", "a100-pcie", "a100-pcie-8"),
    (r"a100.*40", "a100-40", "dgx-a100-40"),
    (r"a100", "a100-80", "dgx-a100"),
    (r"\ba40\b", "a40", "a40-8"),
    (r"\ba10g\b", "a10g", "a10g-8"),
    (r"\ba10\b", "a10", "a10-8"),
    (r"\ba6000\b(?!.*\bada\b)", "rtx-a6000", "rtx-a6000-8"),
    (r"\b4090\b(?!.*(laptop|mobile|\bd\b))", "rtx-4090", "rtx-4090-8"),
    (r"l40s", "l40s", "l40s-8"),
    (r"\bl4\b", "l4", "l4-8"),
    (r"rtx pro 6000", "rtx-pro-6000", "rtx-pro-6000-8"),
    (r"a800", "a800", "dgx-a800"),
    (r"h800", "h800", "dgx-h800"),
    (r"\bh20\b", "h20", "hgx-h20"),
    (r"gh200", "gh200", "gh200-nvl32"),
    (r"h200.*\bnvl\b", "h200-nvl", "h200-nvl-4"),
    (r"h200", "h200", "hgx-h200"),
    (r"h100.*\bnvl\b", "h100-nvl", "h100-nvl-2"),
    (r"h100.*pcie", "h100-pcie", "h100-pcie-8"),
    (r"h100", "h100", "dgx-h100"),
    (r"gb300", "gb300", "gb300-nvl72"),
    (r"gb200", "gb200", "gb200-nvl72"),
    (r"b300", "b300", "hgx-b300"),
    (r"b200", "b200", "hgx-b200"),
    (r"\bv100\b.*\b32 ?gi?b", "v100-32", "dgx-1-v100-32"),
    (r"\bv100\b", "v100", "dgx-1-v100"),
    (r"\bp100\b", "p100", "dgx-1-p100"),
    (r"mi100\b", "mi100", "mi100-4"),
    (r"mi210", "mi210", "mi210-4"),
    (r"mi250", "mi250x", "mi250x-4"),
    (r"mi300x", "mi300x", "mi300x-8"),
    (r"mi325x", "mi325x", "mi325x-8"),
    (r"mi350x", "mi350x", "mi350x-8"),
    (r"mi355x", "mi355x", "mi355x-8"),
    (r"v5 ?e|v5 ?lite", "tpu-v5e", "tpu-v5e-256"),
    (r"v5 ?p\b", "tpu-v5p", "tpu-v5p-8960"),
    (r"v6 ?e|trillium", "tpu-v6e", "tpu-v6e-256"),
    (r"tpu ?7|v7|ironwood", "tpu-v7", "tpu-v7-9216"),
    (r"tpu ?v4\b", "tpu-v4", "tpu-v4-4096"),
    (r"tpu ?v3\b", "tpu-v3", "tpu-v3-32"),
    (r"tpu ?v2\b", "tpu-v2", "tpu-v2-256"),
    (r"gaudi ?2|\bhl ?225", "gaudi2", "gaudi2-8"),
    (r"gaudi ?3|\bhl ?325", "gaudi3", "gaudi3-8"),
    (r"inferentia ?1|\binf1", "inferentia1", "inf1-24xlarge"),
)
"""Pattern in a chip's published name, preset and system; the first that matches counts."""
MAKERS = r"^((nvidia|amd|instinct|google|cloud|aws|intel|microsoft|azure|meta) )+"
"""Words before the name of a chip."""


NETWORKS: tuple[tuple[str, str, str], ...] = (
    (r"omni-?path", "a100-80", "jean-zay-a100"),
    (r"\bp4de?\b|\befa\b", "a100-80", "p4de-a100"),
    (r"\bpair(s|wise)?\b.*\bnvlink\b.*\bbridge", "a100-80", "a100-pairs"),
    (r"\bp5\b|\befa\b", "h100", "p5-h100"),
)
"""Words that name a network, chip preset, and the system with that network."""


def named_system(said: str, chip: str, usual: str) -> str:
    """The system of a chip whose network a row's own words name, or its usual one."""
    return next((s for pattern, c, s in NETWORKS if c == chip and re.search(pattern, said.lower())), usual)


MEASURED = r"measured nccl gb/s\b.*?\b{} ([\d.]+)"
"""Bus bandwidth of a collective over all chips of a run, timed beside it."""


@cache
def timed() -> dict[str, float]:
    """What rows that time a collective do not print, by name: `gathered_B`, and how slow a sound ring may be."""
    facts = load_receipts(FACTS)["collectives"]
    return {name: number(facts, name) for name in facts}


def on_measured_network(system: System, said: str, n_chips: int, ref: Reference) -> System:
    """A system whose collectives take what a row says it measured; the same where it says nothing.

    A ring over the n ranks of a run gathers V bytes in t = (n - 1)/n V / B_bus. Where that is more than `slowest_ring`
    times what this model has, the host waits for every rank in turn before a collective, and the device goes on:
        t_wait = t / n
    Otherwise ranks of different nodes add to a ring t_rank = (t - u t_ring) / n with u `usual_ring`, what such tests
    take inside a node. Where only an all-reduce was timed the network carries less. `said` is a row's own words.
    Source: [nvidia2024nccltests] for bus bandwidth; the rows for the form: with one software from 16 to 512 chips,
    all-gathers and all-reduces take the same time, in proportion to ranks, and tensor ranks of a node wait as much.
    """
    # a run inside one domain never met the network that was timed
    if n_chips <= system.fabric.n_chips:
        return system
    if gather := re.search(MEASURED.format("allgather"), said.lower()):
        return _with_timed_ring(system, float(gather.group(1)) * 1e9, n_chips, ref)
    if reduce := re.search(MEASURED.format("allreduce"), said.lower()):
        return _on_slower_links(system, float(reduce.group(1)) * 1e9, ref)
    return system


def _with_timed_ring(system: System, bus_Bps: float, n_chips: int, ref: Reference) -> System:
    """A system whose ranks take what an all-gather at `bus_Bps` took beyond this model."""
    took_s = (n_chips - 1) / n_chips * timed()["gathered_B"] / bus_Bps
    ring = levels_at_once(across_gather(*spread(system.fabric, 1, n_chips), timed()["gathered_B"], ref), ref)
    steps_s = n_chips * PROTOCOLS[-1].out_hop * ref.out_hop_s
    if took_s > timed()["slowest_ring"] * (ref.time_s(ring) + steps_s):
        slow = {"wait_s": took_s / n_chips}
    else:
        slow = {"rank_s": max(took_s - timed()["usual_ring"] * ref.time_s(ring), 0.0) / n_chips}
    return dataclasses.replace(system, fabric=dataclasses.replace(system.fabric, **slow))


def _on_slower_links(system: System, bus_Bps: float, ref: Reference) -> System:
    """A system whose scale-out network carries `bus_Bps` of an all-reduce between whole domains.

    A ring leaves domains by all ports at once, so each chip carries B = B_bus / n_domain, as far as a library does.
    """
    port = float(system.chip.scaleout_bandwidth_per_dir_Bps)
    # a peak, of which a library reaches ref / port: times the inverse, so that what it reaches is what was timed
    carried = bus_Bps / system.fabric.n_chips * port / ref.out_Bps
    return dataclasses.replace(
        system, chip=dataclasses.replace(system.chip, scaleout_bandwidth_per_dir_Bps=min(port, carried))
    )


OTHERS = r"h(200|800).*pcie|h800.*\bnvl\b|a800.*pcie|\bmig\b|\ba100x|\bh20 3e|v100.*(pcie|sxm3)"
"""Boards that share a name with a preset and neither its clock nor its size."""
NEAR_GB = 0.08
"""How far a memory in a chip's name may be from its preset's: makers count with and without what is set aside."""


def _named(plain: str) -> tuple[str, str] | None:
    found = next(((chip, system) for pattern, chip, system in CHIPS if re.search(pattern, plain)), None)
    # chips without a pattern of their own answer to the name of their preset
    bare = re.sub(MAKERS, "", plain.strip()).replace(" ", "-")
    return found or ((bare, default_system(bare)) if bare in chip_names() else None)


def _fits(chip: str, plain: str) -> bool:
    """Whether the memory that a name states, if any, is the preset's or that of several."""
    # of a server ("8x80GB", "640 GB") it is a multiple, so only the distance to the next whole number counts
    said = re.search(r"\b(\d+) ?gi?b\b", plain)
    n = float(said.group(1)) * 1e9 / float(preset_chip(chip).hbm_capacity_B) if said else 1.0
    return abs(n / max(round(n), 1) - 1) <= NEAR_GB


@cache
def preset_for(published: str) -> tuple[str, str] | None:
    """Chip preset and system of a published chip name; None for two chips, or another memory than the preset's.

    Of a user's chip file its base, by whose calibration it is predicted, and the path; None where no such file is.
    """
    if is_own(published):
        return (base_name(published), published) if is_there(Path(published)) else None
    plain = re.sub("[-_]", " ", published.lower())
    found = _named(plain)
    # "H100 vs H200" is a row of two chips; "A100/SXM" is one, since its second half names none
    several = {_named(part) for part in re.split(r"[/+,&]|\band\b|\bvs\b", plain)} - {None}
    if found is None or len(several) > 1 or re.search(OTHERS, plain) or not _fits(found[0], plain):
        return None
    return found


def system_of(chip: str, where: str, said: str = "") -> System:
    """A user's chip in its usual system where that is a file, else the preset, or the one whose network is `said`."""
    return chip_system(where) if is_own(where) else preset_system(named_system(said, chip, where))


def usual_on(row: Any, serves: bool) -> str:
    """The usual stack of a row's chip, which serves or trains; that of a GPU for a chip without a preset."""
    found = preset_for(row_text(row, "chip"))
    return usual_stack(found[0] if found else "h100", serves)


MANY_CORES = 8
"""Most cores of a chip that software counts as devices; beyond, they are SMs, which none counts."""


TWO_DEVICES = ("mi250",)
"""How names of chips with many cores begin whose two dies are a device each."""


def devices_per_chip(chip: Chip, n_devices: float, n_chips: float) -> int:
    """Devices that software sees in each chip: 1, two halves, or its (logical) cores; 0 where the counts do not match.

    Source: [aws2026neuron] for logical cores; TPU v2 to v7 and MI250X show two devices, other chips of many cores one.
    """
    # counts that do not match must not be mended here: they are the sign of a plan that was read wrongly
    k = n_devices / n_chips
    cores, allowed = float(chip.n_cores), [1]
    if cores <= MANY_CORES:
        allowed += [2, int(cores), int(cores) // 2]
    elif chip.name.startswith(TWO_DEVICES):
        allowed += [2]
    return int(k) if k in allowed else 0


@cache
def may_be_several(published: str) -> bool:
    """Whether software may see several devices in a chip of that name, so that ranks of a plan do not count chips."""
    found = preset_for(published)
    chip = preset_chip(found[0]) if found else None
    return chip is not None and (1 < float(chip.n_cores) <= MANY_CORES or chip.name.startswith(TWO_DEVICES))


def per_device(system: System, per_chip: int, n_devices: int) -> System:
    """`system` cut into devices of 1/per_chip of a chip: the innermost axis, as fast as all links (a guess)."""
    if per_chip == 1:
        return torus_slice(system, n_devices)
    # of twice the links, shared in halves, the new axis has as much as all links had, and the old ones what they had
    c, k = system.chip, float(per_chip)
    chip = dataclasses.replace(
        c, n_cores=c.n_cores / k, n_stacks=c.n_stacks / k, hbm_bandwidth_Bps=c.hbm_bandwidth_Bps / k,
        hbm_capacity_B=c.hbm_capacity_B / k, scaleup_bandwidth_per_dir_Bps=2 * c.scaleup_bandwidth_per_dir_Bps / k,
        scaleout_bandwidth_per_dir_Bps=c.scaleout_bandwidth_per_dir_Bps / k,
    )  # fmt: skip
    fabric = system.fabric
    if fabric.kind == "switched":
        return System(system.name, chip, dataclasses.replace(fabric, dims=(fabric.n_chips * per_chip,)), n_devices)
    shares = (0.5, *(0.5 * s for s in fabric.axis_share))
    return System(system.name, chip, Fabric("torus", (per_chip, *fabric.dims), shares), n_devices)
